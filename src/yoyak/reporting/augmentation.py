"""The rows that augmentation added to train: how many by method, why others were left out, and examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.reporting.view import AugmentationSection, Change, Table


def make_section(prepared: Mapping[str, Any]) -> AugmentationSection | None:
    """Return what `prepare` reports of augmentation; None if it was off."""
    report = prepared.get("augmentation")
    if not report:
        return None
    rows = [
        (
            _to_words(name),
            f"{method['drawn']:,}",
            f"{method['added']:,}",
            _count(method["filtered"]),
            _count(method.get("turns_left_as_they_were", {})),
        )
        for name, method in report["methods"].items()
    ]
    total = report["rows"]
    return AugmentationSection(
        methods=Table(
            title=f"Rows that augmentation added to train: {total['added']:,} to {total['train']:,}",
            columns=("method", "rows drawn", "rows added", "rows left out", "turns left as they were"),
            rows=tuple(rows),
        ),
        changes=tuple(Change(**{**each, "method": _to_words(each["method"])}) for each in report["examples"]),
    )


def _count(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in reasons.items()) or "none"


def _to_words(name: str) -> str:
    return name.replace("_", " ")
