"""The key-value cache of prompts that several beams continue: it is neither copied nor reordered from step to step."""

from __future__ import annotations

from typing import Any, cast

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer


class PromptLayer(DynamicLayer):
    """One layer's cache, with room for the tokens to come.

    The beams of a dialogue have its prompt in common, so that only what they have written is reordered with them.
    transformers' own layer moves all of it: for short summaries of long dialogues that takes most of the time.
    """

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, num_beams: int, new_tokens: int) -> None:
        """Take the states [dialogues, heads, tokens, width] of the prompts."""
        super().__init__()
        self.prompt_tokens = keys.shape[-2]
        self.buffers = [self._allocate(states, num_beams, new_tokens) for states in (keys, values)]
        self.dtype, self.device, self.is_initialized = keys.dtype, keys.device, True
        self._set_length(self.prompt_tokens)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, cache_kwargs: dict[str, Any] | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the states [rows, heads, tokens, width] of new tokens and return all of them."""
        start, end = self.length, self.length + key_states.shape[-2]
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start:end] = states
        return self._set_length(end)

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Let each row continue what another row of its dialogue has written."""
        for buffer in self.buffers:
            written = buffer[:, :, self.prompt_tokens : self.length]
            written.copy_(written[beam_idx])

    def _allocate(self, states: torch.Tensor, num_beams: int, new_tokens: int) -> torch.Tensor:
        rows, heads, tokens, width = states.shape
        buffer = states.new_empty((rows * num_beams, heads, tokens + new_tokens, width))
        buffer[:, :, :tokens] = states.repeat_interleave(num_beams, dim=0)
        return buffer

    def _set_length(self, length: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.length = length
        keys, values = (buffer[:, :, :length] for buffer in self.buffers)
        self.keys, self.values = keys, values
        return keys, values


def share_prompts(cache: Any, num_beams: int, new_tokens: int) -> DynamicCache | None:
    """Return the cache of read prompts, repeated for each beam, with room for ``new_tokens`` tokens of each.

    None if the model's cache is of another kind, such as that of sliding windows or state space models.
    """
    if type(cache) is not DynamicCache or any(type(layer) is not DynamicLayer for layer in cache.layers):
        return None
    shared, layers = DynamicCache(), cast(list[Any], cache.layers)
    shared.layers = [PromptLayer(layer.keys, layer.values, num_beams, new_tokens) for layer in layers]
    return shared
