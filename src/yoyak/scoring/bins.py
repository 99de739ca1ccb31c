"""Bins of dialogues by length, of about equal size, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Dialogues grouped by their length."""

    by: str
    """Unit of length: ``turns``, or ``characters`` if the number of turns hardly varies."""
    labels: tuple[str, ...]
    """``3–5`` or ``6``, shortest first; no bin is empty."""
    indices: np.ndarray
    """[dialogues]: the bin index of each."""


def length_bins(turns: Sequence[int] | np.ndarray, chars: Sequence[int] | np.ndarray) -> Bins:
    """Group dialogues by quantiles of their turns, or of their characters if the number of turns hardly varies."""
    by, lengths = "turns", np.asarray(turns)
    edges = _edges(lengths)
    if len(edges) < BINS // 2:
        by, lengths = "characters", np.asarray(chars)
        edges = _edges(lengths)
    bins, indices = np.unique(np.searchsorted(edges, lengths, side="left"), return_inverse=True)
    labels = []
    for index in range(len(bins)):
        bin_lengths = lengths[indices == index]
        low, high = int(bin_lengths.min()), int(bin_lengths.max())
        labels.append(f"{low:,}" if low == high else f"{low:,}–{high:,}")
    return Bins(by=by, labels=tuple(labels), indices=indices)


def _edges(lengths: np.ndarray) -> np.ndarray:
    """Return the inner edges of the bins; a length equal to an edge belongs to the bin below it."""
    if not len(lengths):
        return lengths
    inner = np.quantile(lengths, np.arange(1, BINS) / BINS, method="lower")
    return np.unique(inner[inner < lengths.max()])
