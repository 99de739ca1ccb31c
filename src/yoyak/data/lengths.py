"""Length histograms, in turns, characters and the tokens of each tokenizer, and the table that DVC plots."""

from __future__ import annotations

import csv
import math
import os
import statistics
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from yoyak.data.records import Dialogue
from yoyak.files import atomic_path

PLOT_FILE = "lengths.csv"
_BINS = 20


def length_histogram(lengths: Sequence[int], bins: Sequence[int]) -> dict[str, Any]:
    """Return a histogram of lengths over the bin edges ``bins``, with summary statistics.

    The edges ascend; bin i holds ``bins[i] <= length < bins[i + 1]``, and the last bin also everything above.
    ``p95`` is the smallest length that 95% do not exceed. Without lengths the statistics are None. Raises ValueError
    for fewer than two edges or a length below the first.
    """
    if len(bins) < 2 or list(bins) != sorted(set(bins)):
        raise ValueError("bins must be at least two ascending edges")
    ordered = sorted(lengths)
    if ordered and ordered[0] < bins[0]:
        raise ValueError(f"length {ordered[0]} is below the first edge {bins[0]}")
    counts = [0] * (len(bins) - 1)
    for length in ordered:
        counts[min(bisect_right(bins, length), len(counts)) - 1] += 1
    return {
        "count": len(ordered),
        "min": ordered[0] if ordered else None,
        "mean": round(statistics.fmean(ordered), 2) if ordered else None,
        "median": statistics.median(ordered) if ordered else None,
        "p95": ordered[math.ceil(0.95 * len(ordered)) - 1] if ordered else None,
        "max": ordered[-1] if ordered else None,
        "edges": list(bins),
        "counts": counts,
    }


def bin_edges(lengths: Sequence[int]) -> list[int]:
    """Return the edges of about 20 bins of a round width that cover most lengths; the last bin covers the rest."""
    ordered = sorted(lengths) or [0]
    typical = ordered[math.ceil(0.99 * len(ordered)) - 1]
    width = _round_up(max(1, math.ceil((typical + 1) / _BINS)))
    edges = list(range(0, typical + 1 + width, width))
    if ordered[-1] >= edges[-1]:
        edges.append(ordered[-1] + 1)
    return edges


def length_report(splits: Mapping[str, Sequence[Dialogue]]) -> dict[str, Any]:
    """Return ``{split: {field: {unit: histogram}}}`` in turns and characters; splits share a unit's bins."""
    report: dict[str, Any] = {name: {"dialogue": {}, "summary": {}} for name in splits}
    _add_histograms(
        report, _texts(splits, "dialogue"), "dialogue", "turns", lambda texts: [_count_turns(text) for text in texts]
    )
    for field in ("dialogue", "summary"):
        _add_histograms(report, _texts(splits, field), field, "characters", lambda texts: [len(text) for text in texts])
    return report


def add_token_histograms(
    report: dict[str, Any],
    splits: Mapping[str, Sequence[Dialogue]],
    count_tokens: Callable[[list[str]], list[int]],
    name: str,
) -> None:
    """Add lengths in tokens to a report of `prepare_splits`, in place, as unit ``<name> tokens``.

    ``count_tokens`` returns the number of tokens of each text; it is called once per split and field.
    """
    for field in ("dialogue", "summary"):
        _add_histograms(report["lengths"], _texts(splits, field), field, f"{name} tokens", count_tokens)


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
    texts: Mapping[str, list[str]],
    field: str,
    unit: str,
    measure: Callable[[list[str]], list[int]],
) -> None:
    lengths = {split: [int(length) for length in measure(values)] for split, values in texts.items()}
    edges = bin_edges([length for values in lengths.values() for length in values])
    for split, values in lengths.items():
        report[split][field][unit] = length_histogram(values, edges)


def _texts(splits: Mapping[str, Sequence[Dialogue]], field: str) -> dict[str, list[str]]:
    if field == "dialogue":
        return {name: [row.dialogue for row in rows] for name, rows in splits.items()}
    return {name: [summary for row in rows for summary in row.summaries] for name, rows in splits.items()}


def _count_turns(text: str) -> int:
    return text.count("\n") + 1 if text else 0


def _round_up(width: int) -> int:
    """Return the next of the numbers 1, 2, 5, 10, 20, 50 …"""
    power = 10 ** int(math.log10(width))
    return next(power * step for step in (1, 2, 5, 10) if power * step >= width)
