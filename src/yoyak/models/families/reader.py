"""A model in the middle of a batch: it has read the dialogues, and follows whatever is written of their summaries."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Reader(ABC):
    """Gives the logits of the next token; each token is read once, into a key-value cache."""

    def __init__(self, model: Any, prompt: torch.Tensor, mask: torch.Tensor) -> None:
        """Take a model, the tokens before the first written one [dialogues, tokens] and the mask of its inputs."""
        self.model, self.prompt, self.mask = model, prompt, mask
        self.parameters = inspect.signature(model.forward).parameters
        self.cache: Any = None

    @abstractmethod
    def model_inputs(self, tokens: torch.Tensor) -> dict[str, Any]:
        """Return what the model is called with to read ``tokens``, the cache and the mask left out."""

    def begin(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the first token's logits; ``rows`` gives the dialogue of each row that is written from now on."""
        logits = self._forward(self.prompt, logits_to_keep=1)[:, -1]
        self._reorder_cache(rows)
        self.select_dialogues(rows)
        return logits[rows]

    def follow(self, parents: torch.Tensor | None, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after each of ``tokens`` [rows, tokens].

        Args:
            parents: The row of the step before that each row continues; None if each continues itself.
        """
        if parents is not None:
            self._reorder_cache(parents)
        self.extend_mask(tokens)
        return self._forward(tokens, logits_to_keep=0)

    def select_dialogues(self, rows: torch.Tensor) -> None:
        """Repeat what was kept of each dialogue for each of its rows."""
        self.mask = self.mask[rows]

    def extend_mask(self, tokens: torch.Tensor) -> None:  # noqa: B027
        """Attend to ``tokens`` too, where the mask is of what is written."""

    def _forward(self, tokens: torch.Tensor, logits_to_keep: int) -> torch.Tensor:
        """Read on. Only the last ``logits_to_keep`` logits are needed (0: all), where a model can leave out others."""
        inputs = self.model_inputs(tokens)
        if "logits_to_keep" in self.parameters:
            inputs["logits_to_keep"] = logits_to_keep
        output = self.model(
            **inputs, attention_mask=self.mask, past_key_values=self.cache, use_cache=True, return_dict=True
        )
        self.cache = output.past_key_values
        logits: torch.Tensor = output.logits.float()
        return logits

    def _reorder_cache(self, rows: torch.Tensor) -> None:
        if hasattr(self.model, "_reorder_cache"):
            self.cache = self.model._reorder_cache(self.cache, rows)
        else:
            self.cache.reorder_cache(rows)
