"""The parts of prepared/report.json that describe the splits: topics, leakage, masks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from yoyak.data.checks import MAX_EXAMPLES, find_shared_dialogues, locate
from yoyak.data.reading import SourceRow
from yoyak.data.records import Dialogue
from yoyak.data.source_rows import SourceRows
from yoyak.korean import masks

MAX_TOPICS = 50


def describe_split(rows: Iterable[Dialogue], source: str) -> dict[str, Any]:
    """Return a split's size and source, and the distribution of its references, topics and slices."""
    references: Counter[str] = Counter()
    topics: Counter[str] = Counter()
    slices: Counter[str] = Counter()
    for row in rows:
        references[str(len(row.summaries))] += 1
        topics[row.topic] += 1
        slices[row.slice] += 1
    size, without_topic = references.total(), topics.pop("", 0)
    slices.pop("", 0)
    return {
        "rows": size,
        "from": source,
        "references": dict(sorted(references.items())),
        "topics": {
            "different": len(topics),
            "rows_without": without_topic,
            "most_common": dict(sorted(topics.items(), key=lambda item: (-item[1], item[0]))[:MAX_TOPICS]),
        },
        "slices": dict(sorted(slices.items())),
    }


def describe_leakage(
    before: Mapping[str, SourceRows],
    final: Mapping[str, SourceRows],
    files: Mapping[str, str],
    removed: Mapping[str, Mapping[str, int]],
) -> list[dict[str, Any]]:
    """Return the dialogues shared by each pair of splits.

    Splits with their own file are compared as they were read (``before``), those split from train as they are now.
    ``removed`` counts the rows that were removed from a split because of another one.
    """
    report = []
    for split, other in combinations(final, 2):
        compared = before if split in before and other in before else final
        mine, theirs = find_shared_dialogues(compared[split], compared[other])
        report.append(
            {
                "between": [split, other],
                "dialogues": len(mine),
                "rows_removed": {
                    name: removed[name][cause]
                    for name, cause in ((split, other), (other, split))
                    if cause in removed.get(name, {})
                },
                "examples": [
                    {split: locate(first, files[split]), other: locate(second, files[other])}
                    for first, second in zip(mine[:MAX_EXAMPLES], theirs[:MAX_EXAMPLES], strict=True)
                ],
            }
        )
    return report


def describe_masks(splits: Mapping[str, SourceRows], files: Mapping[str, str]) -> dict[str, Any]:
    """Return each mask's count per split, the masks that train lacks, and ``#`` characters outside masks."""
    counts: dict[str, dict[str, int]] = {}
    stray_rows = 0
    examples: list[dict[str, Any]] = []
    for name, rows in splits.items():
        for mask, count in masks.count_masks(text for row in rows for text in _texts(row)).items():
            counts.setdefault(mask, dict.fromkeys(splits, 0))[name] = count
        for row in rows:
            words = [word for text in _texts(row) for word in masks.find_stray_hashes(text)]
            stray_rows += bool(words)
            if words and len(examples) < MAX_EXAMPLES:
                examples.append({**locate(row, files[name]), "words": words[:5]})
    counts = dict(sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0])))
    return {
        "counts": counts,
        "not_in_train": [mask for mask, by_split in counts.items() if not by_split["train"]],
        "stray_hashes": {"rows": stray_rows, "examples": examples},
    }


def _texts(row: SourceRow) -> tuple[str, ...]:
    return (row.value.dialogue, *row.value.summaries)
