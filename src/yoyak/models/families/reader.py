"""Stepwise decoding of a batch: the model has read the dialogues, and scores the next token of their summaries."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class Reader(ABC):
    """Computes the next token's logits; a key-value cache ensures that each token is processed once."""

    def __init__(self, model: Any, prompt: torch.Tensor, mask: torch.Tensor) -> None:
        """Take a model, the tokens before the first generated one [dialogues, tokens] and the attention mask."""
        self.model, self.prompt, self.mask = model, prompt, mask
        self.parameters = inspect.signature(model.forward).parameters
        self.cache: Any = None

    @abstractmethod
    def model_inputs(self, tokens: torch.Tensor) -> dict[str, Any]:
        """Return the model's keyword arguments for ``tokens``, except the cache and the mask."""

    def begin(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the first token's logits; ``rows`` is the dialogue index of each row to be generated."""
        logits = self.read()
        self._reorder_cache(rows)
        self.select_dialogues(rows)
        return logits[rows]

    def read(self) -> torch.Tensor:
        """Process the prompts and return the logits [dialogues, vocabulary] that follow them."""
        return self._forward(self.prompt, logits_to_keep=1)[:, -1]

    def follow(self, parents: torch.Tensor | None, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after each of ``tokens`` [rows, tokens].

        Args:
            parents: For each row, the row of the previous step that it continues; None if each continues itself.
        """
        if parents is not None:
            self._reorder_cache(parents)
        self.extend_mask(tokens)
        return self._forward(tokens, logits_to_keep=0)

    def select_dialogues(self, rows: torch.Tensor) -> None:
        """Repeat each dialogue's state for each of its rows."""
        self.mask = self.mask[rows]

    def extend_mask(self, tokens: torch.Tensor) -> None:  # noqa: B027
        """Include ``tokens`` in the attention mask, if it covers generated tokens."""

    def _forward(self, tokens: torch.Tensor, logits_to_keep: int) -> torch.Tensor:
        """Process ``tokens``. Only the last ``logits_to_keep`` logits (0: all) are computed if the model allows it."""
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
