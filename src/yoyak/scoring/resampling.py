"""Intervals of many rows of scores, in bounded memory, where some systems have no summary of some dialogues."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from yoyak.scoring.results import Figures

CELLS = 4_000_000
"""Scores that are resampled at once: 32 MB."""
Resample = Callable[..., list[Figures]]


def resample_rows(
    read: Callable[[int], np.ndarray],
    count: int,
    dialogues: int,
    resample: Resample[Figures],
    options: Mapping[str, Any],
) -> Iterator[Figures | None]:
    """Yield what ``resample`` makes of each of ``count`` rows of scores; None of one that has nothing but NaN."""
    step = max(1, CELLS // dialogues)
    for start in range(0, count, step):
        rows = np.array([read(row) for row in range(start, min(start + step, count))])
        yield from _resample_sets(rows, resample, options)


def _resample_sets(rows: np.ndarray, resample: Resample[Figures], options: Mapping[str, Any]) -> list[Figures | None]:
    """Return what ``resample`` makes of each row [rows, dialogues] without its NaN; None of a row of nothing else.

    Rows that have a value for the same dialogues are resampled together, by the same draws.
    """
    known = ~np.isnan(rows)
    sets: dict[bytes, list[int]] = {}
    for index, mask in enumerate(known):
        sets.setdefault(mask.tobytes(), []).append(index)
    results: list[Figures | None] = [None] * len(rows)
    for indices in sets.values():
        mask = known[indices[0]]
        if mask.any():
            for index, result in zip(indices, resample(rows[indices][:, mask], **options), strict=True):
                results[index] = result
    return results
