"""Length histograms, in turns, characters and the tokens of each tokenizer, and the table that DVC plots."""

from __future__ import annotations

import csv
import math
import os
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoyak.data.records import Dialogue, in_parts
from yoyak.files import atomic_path

PLOT_FILE = "lengths.csv"
_BINS = 20
_AT_ONCE = 1000
"""Texts that are tokenized at once."""


def length_histogram(lengths: Iterable[int], bins: Sequence[int]) -> dict[str, Any]:
    """Return a histogram of lengths over the bin edges ``bins``, with summary statistics.

    ``lengths`` may be a Counter. The edges ascend; bin i holds ``bins[i] <= length < bins[i + 1]``, and the last bin
    also everything above. ``p95`` is the smallest length that 95% do not exceed. Without lengths the statistics are
    None. Raises ValueError for fewer than two edges or a length below the first.
    """
    if len(bins) < 2 or list(bins) != sorted(set(bins)):
        raise ValueError("bins must be at least two ascending edges")
    times = Counter(lengths)
    ordered = sorted(times)
    if ordered and ordered[0] < bins[0]:
        raise ValueError(f"length {ordered[0]} is below the first edge {bins[0]}")
    counts = [0] * (len(bins) - 1)
    for length in ordered:
        counts[min(bisect_right(bins, length), len(counts)) - 1] += times[length]
    count = times.total()
    return {
        "count": count,
        "min": ordered[0] if ordered else None,
        "mean": round(sum(length * n for length, n in times.items()) / count, 2) if ordered else None,
        "median": _find_median(times, ordered) if ordered else None,
        "p95": _find_rank(times, ordered, math.ceil(0.95 * count)) if ordered else None,
        "max": ordered[-1] if ordered else None,
        "edges": list(bins),
        "counts": counts,
    }


def _find_rank(times: Counter[int], ordered: Sequence[int], rank: int) -> int:
    """Return the length that has a rank, from 1, among all lengths."""
    below = 0
    for length in ordered:
        below += times[length]
        if below >= rank:
            return length
    raise ValueError(f"there are no {rank} lengths")


def _find_median(times: Counter[int], ordered: Sequence[int]) -> float:
    count = times.total()
    upper = _find_rank(times, ordered, count // 2 + 1)
    return upper if count % 2 else (_find_rank(times, ordered, count // 2) + upper) / 2


def bin_edges(lengths: Iterable[int]) -> list[int]:
    """Return the edges of about 20 bins of a round width that cover most lengths; the last bin covers the rest."""
    times = Counter(lengths) or Counter([0])
    ordered = sorted(times)
    typical = _find_rank(times, ordered, math.ceil(0.99 * times.total()))
    width = _round_up(max(1, math.ceil((typical + 1) / _BINS)))
    edges = list(range(0, typical + 1 + width, width))
    if ordered[-1] >= edges[-1]:
        edges.append(ordered[-1] + 1)
    return edges


def length_report(splits: Mapping[str, Iterable[Dialogue]]) -> dict[str, Any]:
    """Return ``{split: {field: {unit: histogram}}}`` in turns and characters; splits share a unit's bins."""
    report: dict[str, Any] = {name: {"dialogue": {}, "summary": {}} for name in splits}
    _add_histograms(report, splits, "dialogue", "turns", lambda texts: [_count_turns(text) for text in texts])
    for field in ("dialogue", "summary"):
        _add_histograms(report, splits, field, "characters", lambda texts: [len(text) for text in texts])
    return report


def add_token_histograms(
    report: dict[str, Any],
    splits: Mapping[str, Iterable[Dialogue]],
    count_tokens: Callable[[list[str]], list[int]],
    name: str,
) -> None:
    """Add lengths in tokens to a report of `prepare_splits`, in place, as unit ``<name> tokens``.

    ``count_tokens`` returns the number of tokens of each text; it is called for up to `_AT_ONCE` of them.
    """
    for field in ("dialogue", "summary"):
        _add_histograms(report["lengths"], splits, field, f"{name} tokens", count_tokens)


def write_length_plots(report: Mapping[str, Any], folder: str | os.PathLike[str]) -> Path:
    """Write every histogram of a report to ``lengths.csv`` in ``folder``: split,field,unit,low,high,count.

    ``high`` is exclusive. Returns the path.
    """
    path = Path(folder) / PLOT_FILE
    with atomic_path(path) as work, work.open("w", encoding="utf-8", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(["split", "field", "unit", "low", "high", "count"])
        for split, fields in report["lengths"].items():
            for field, units in fields.items():
                for unit, histogram in units.items():
                    edges = histogram["edges"]
                    for low, high, count in zip(edges, edges[1:], histogram["counts"], strict=False):
                        table.writerow([split, field, unit, low, high, count])
    return path


def _add_histograms(
    report: dict[str, Any],
    splits: Mapping[str, Iterable[Dialogue]],
    field: str,
    unit: str,
    measure: Callable[[list[str]], list[int]],
) -> None:
    # There are far fewer lengths than texts.
    lengths: dict[str, Counter[int]] = {name: Counter() for name in splits}
    for name, rows in splits.items():
        for part in in_parts(_texts(rows, field), _AT_ONCE):
            lengths[name].update(map(int, measure(part)))
    edges = bin_edges(sum(lengths.values(), Counter()))
    for name, times in lengths.items():
        report[name][field][unit] = length_histogram(times, edges)


def _texts(rows: Iterable[Dialogue], field: str) -> Iterator[str]:
    if field == "dialogue":
        return (row.dialogue for row in rows)
    return (summary for row in rows for summary in row.summaries)


def _count_turns(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _round_up(width: int) -> int:
    """Return the next of the numbers 1, 2, 5, 10, 20, 50 …"""
    power = 10 ** int(math.log10(width))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= width)
