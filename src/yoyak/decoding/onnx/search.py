"""Greedy search, sampling and beam search for a batch, as transformers' ``generate`` does them.

It works with anything that returns logits for the next token, see `Decoder`. The options have the names and meanings of
transformers' GenerationConfig and give the same results (transformers 4.57), except that sampling draws other numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from yoyak.decoding.deadline import check_deadline
from yoyak.decoding.onnx.options import Floats, Ints, Search
from yoyak.decoding.onnx.states import SearchState, Written

MIN_ACTIVE_SHARE = 0.5
"""Finished dialogues are removed from the batch, which copies the cache, once at most this share is unfinished."""


class Decoder(Protocol):
    """A model in the middle of a batch: one row for each text that is being written.

    The search may change the logits [rows, vocabulary] in place.
    """

    def first(self) -> Floats:
        """Return the logits of the first token of each row."""

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        """Append one token to each row and return the logits of the next.

        ``source`` holds the index of the previous row that each row continues; None means that each continues itself.
        The rows of a dialogue are adjacent, equally many for each dialogue, and only continue one another.
        """

    def keep(self, dialogues: Ints) -> None:
        """Keep only some of the dialogues, given by their indices among the remaining ones."""


def search(decoder: Decoder, prompt: Ints, settings: Search, rows: Sequence[int] | None = None) -> list[list[Written]]:
    """Return the texts that continue each row of the batch, best first.

    Args:
        decoder: The model, which has read the inputs.
        prompt: Tokens before the first new one, padded: the start token, or a causal model's input.
        settings: The options of the search.
        rows: A number for each row that seeds its sampling; by default its index in the batch.
    """
    state = SearchState(settings, prompt.shape[1])
    state.add(prompt, rows or ())
    texts, active = state.texts, np.arange(len(prompt))
    """Indices in the batch of the dialogues that are still in it."""
    found: dict[int, list[Written]] = {}
    # The first step runs one row for each dialogue; all others run one for each text.
    logits, is_first = np.repeat(decoder.first(), texts, axis=0), True
    while True:
        check_deadline()
        tokens, parents = state.step(logits)
        remaining = np.flatnonzero(~state.done)
        if not len(remaining) or (not is_first and len(remaining) <= len(active) * MIN_ACTIVE_SHARE):
            found |= {int(active[row]): state.written(row) for row in np.flatnonzero(state.done).tolist()}
            if not len(remaining):
                return [found[row] for row in range(len(prompt))]
            decoder.keep(remaining)
            state.keep(remaining)
            active, tokens = active[remaining], tokens.reshape(-1, texts)[remaining].reshape(-1)
            parents = None if parents is None else parents[remaining]
        logits = decoder.advance(tokens, _find_sources(parents, len(active), texts, is_first=is_first))
        is_first = False


def _find_sources(parents: Ints | None, dialogues: int, texts: int, *, is_first: bool) -> Ints | None:
    """Return the index of the row that each row continues; None if each continues itself."""
    if is_first:
        return np.repeat(np.arange(dialogues), texts) if texts > 1 else None
    if parents is None:
        return None
    return (parents + np.arange(dialogues)[:, None] * texts).reshape(-1)
