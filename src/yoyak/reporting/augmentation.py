"""The rows that augmentation added to train: how many by method, why others were left out, and examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.reporting.view import AugmentationSection, Change, Table

TURNS = "turns_left_as_they_were"


def make_section(prepared: Mapping[str, Any]) -> AugmentationSection | None:
    """Return what `prepare` reports of augmentation; None if it was off."""
    report = prepared.get("augmentation")
    if not report:
        return None
    methods = report["methods"]
    rows: list[tuple[str, ...]] = [
        (_to_words(name), f"{method['drawn']:,}", f"{method['added']:,}", _count(method["filtered"]))
        for name, method in methods.items()
    ]
    columns: tuple[str, ...] = ("method", "rows drawn", "rows added", "rows left out")
    if any(TURNS in method for method in methods.values()):
        columns = (*columns, "turns left as they were")
        rows = [(*row, _count(method.get(TURNS, {}))) for row, method in zip(rows, methods.values(), strict=True)]
    total = report["rows"]
    return AugmentationSection(
        methods=Table(
            title=f"Rows that augmentation added to train: {total['added']:,} to {total['train']:,}",
            columns=columns,
            rows=tuple(rows),
        ),
        changes=tuple(Change(**{**each, "method": _to_words(each["method"])}) for each in report["examples"]),
    )


def _count(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "none"


def _to_words(name: str) -> str:
    return name.replace("_", " ")
