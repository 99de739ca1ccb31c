"""Checks of rows: identifiers, empty texts, repeated dialogues and dialogues that are in two splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from yoyak.data.reading import Row
from yoyak.data.records import Dialogue
from yoyak.errors import UserError

EXAMPLES = 20
"""Rows that a report lists at most for each finding."""


def fold(dialogue: str) -> str:
    """Return what two dialogues share that are the same but for whitespace and letter case."""
    return "".join(dialogue.casefold().split())


def check_ids(rows: Sequence[Row], file: str) -> None:
    """Raise UserError for an empty identifier, or one that two rows of a file share: scores are joined by it."""
    first: dict[str, str] = {}
    for row in rows:
        fname = row.value.fname
        if not fname:
            raise UserError(
                f"{file}, {row.place}: the id is empty; give each row its own, "
                "or set data.columns.id to null to number the rows."
            )
        if fname in first:
            raise UserError(
                f"{file}: {first[fname]} and {row.place} have the same id '{fname}'; give each row its own, "
                "or set data.columns.id to null to number the rows."
            )
        first[fname] = row.place


def fault(row: Dialogue) -> str | None:
    """Return why a row can neither be learnt from nor be scored, or None."""
    if not row.dialogue:
        return "empty dialogue"
    return None if row.summaries else "empty summary"


def without_repeats(rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the rows whose dialogue and summaries are new, and those that only repeat an earlier row."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    kept: list[Row] = []
    dropped: list[Row] = []
    for row in rows:
        content = (row.value.dialogue, row.value.summaries)
        (dropped if content in seen else kept).append(row)
        seen.add(content)
    return kept, dropped


def example(row: Row, file: str) -> dict[str, str]:
    """Return how a report points at a row."""
    return {"fname": row.value.fname, "where": f"{file}, {row.place}"}


def duplicates(rows: Sequence[Row], file: str) -> dict[str, Any]:
    """Return how many dialogues occur more than once, in how many rows beyond the first, and which."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(fold(row.value.dialogue), []).append(row)
    repeated = [group for group in groups.values() if len(group) > 1]
    return {
        "dialogues": len(repeated),
        "rows_beyond_first": sum(len(group) - 1 for group in repeated),
        "examples": [[example(row, file) for row in group[:EXAMPLES]] for group in repeated[:EXAMPLES]],
    }


def shared_dialogues(ones: Sequence[Row], others: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Return the first rows, in each of two splits, of every dialogue that both hold."""
    first: dict[str, Row] = {}
    for row in others:
        first.setdefault(fold(row.value.dialogue), row)
    shared: dict[str, tuple[Row, Row]] = {}
    for row in ones:
        key = fold(row.value.dialogue)
        if key in first:
            shared.setdefault(key, (row, first[key]))
    return list(shared.values())
