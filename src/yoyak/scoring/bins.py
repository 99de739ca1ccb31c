"""Bins of dialogues by length, each of about as many dialogues, and their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bins:
    """Dialogues grouped by their length."""

    by: str
    """Unit of the length: ``turns``, or ``characters`` where the turns hardly vary."""
    labels: tuple[str, ...]
    """``3–5`` or ``6``, shortest first; no bin is empty."""
    indices: np.ndarray
    """[dialogues]: index of the bin of each."""


def length_bins(turns: Sequence[int], chars: Sequence[int]) -> Bins:
    """Group dialogues by quantiles of their turns, or of their characters where the turns hardly vary."""
    by, lengths = "turns", np.asarray(turns)
    edges = _edges(lengths)
    if len(edges) < BINS // 2:
        by, lengths = "characters", np.asarray(chars)
        edges = _edges(lengths)
    bins, indices = np.unique(np.searchsorted(edges, lengths, side="left"), return_inverse=True)
    labels = []
    for index in range(len(bins)):
        inside = lengths[indices == index]
        low, high = int(inside.min()), int(inside.max())
        labels.append(f"{low:,}" if low == high else f"{low:,}–{high:,}")
    return Bins(by=by, labels=tuple(labels), indices=indices)


def _edges(lengths: np.ndarray) -> np.ndarray:
    """Return the inner edges of the bins: a length up to and including the edge belongs to the bin below."""
    if not len(lengths):
        return lengths
    inner = np.quantile(lengths, np.arange(1, BINS) / BINS, method="lower")
    return np.unique(inner[inner < lengths.max()])
