"""How much memory a search takes, from the sizes of a model's caches: arithmetic, without running anything.

    footprint.bytes_per_dialogue(read=256, new=64, beams=4)

A server limits its batches by it. It is an upper bound: half to a few times what is measured (tests/decoding).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoyak.decoding.summarizer import Summarizer
    from yoyak.params import Generation

COPIES = 2.0
"""Caches that are alive at once while one is extended or reordered with the beams, layer by layer, and what the
allocator keeps of those that were freed."""
SCORE_COPIES = 5
"""Arrays of the size of the logits that are alive at once in a step of a search."""
ACTIVATIONS = 24
"""Floats that an encoder has alive at once for each token and feature: it is four features wide between two layers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """The sizes that decide how much memory a model needs to search."""

    token_bytes: int
    """What all layers' caches hold of one token of one text."""
    read_bytes: int
    """What the caches for cross-attention hold of one token of the input; 0 without an encoder."""
    vocabulary: int
    heads: int
    width: int
    """Features of all heads together."""
    shares_cache: bool = False
    """Whether the texts of a dialogue share a cache, so that each attends to the columns of all."""
    shares_input: bool = False
    """Whether the texts of a dialogue share the cache for cross-attention."""

    def bytes_per_dialogue(self, *, read: int, new: int, beams: int) -> int:
        """Return the peak in bytes for one dialogue of ``read`` tokens and ``beams`` summaries of ``new`` tokens."""
        prompt = 0 if self.read_bytes else read
        tokens = prompt + new
        columns = prompt + beams * new if self.shares_cache else tokens
        cache = (columns if self.shares_cache else beams * tokens) * self.token_bytes * COPIES
        inputs = read * self.read_bytes * (1 if self.shares_input else beams) * COPIES
        attention = 2 * 4 * beams * self.heads * (columns + read)
        bias = 3 * 4 * beams * columns if self.shares_cache else 0
        scores = SCORE_COPIES * 4 * beams * self.vocabulary
        chosen = beams * tokens * (6 * 8 + 2 * beams * 12)
        encoder = 4 * read * (ACTIVATIONS * self.width + 2 * self.heads * read)
        return int(cache + inputs + attention + bias + scores + chosen + encoder)


def release_memory(summarizer: Summarizer) -> None:
    """Let a summarizer free what it keeps of earlier searches, if it keeps anything."""
    release = getattr(summarizer, "release_memory", None)
    if release:
        release()


def bytes_per_dialogue(summarizer: Summarizer, settings: Generation) -> int:
    """Return what a search of this summarizer takes for one dialogue, at most; 0 if it does not say."""
    estimate = getattr(summarizer, "bytes_per_dialogue", None)
    return int(estimate(settings)) if estimate else 0


def count_searches(summarizer: Summarizer, dialogues: Sequence[str]) -> list[int]:
    """Return how many texts this summarizer searches for each dialogue; 1 if it does not say."""
    count = getattr(summarizer, "count_searches", None)
    return list(count(dialogues)) if count else [1] * len(dialogues)


def reads_windows(summarizer: Summarizer) -> bool:
    """Return whether this summarizer reads long dialogues in parts."""
    members = getattr(summarizer, "members", None)
    if isinstance(members, Mapping):
        return any(map(reads_windows, members.values()))
    return getattr(summarizer, "window", None) is not None
