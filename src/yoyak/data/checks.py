"""Checks of rows: ids, empty texts, repeated dialogues, and dialogues shared by two splits."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from yoyak.data.reading import SourceRow
from yoyak.data.records import Dialogue
from yoyak.errors import UserError

MAX_EXAMPLES = 20
"""Maximum number of rows that the report lists per finding."""


def dialogue_key(dialogue: str) -> str:
    """Return a key that is equal for dialogues that differ only in whitespace and letter case."""
    return "".join(dialogue.casefold().split())


def hash_dialogue(dialogue: str) -> str:
    """Return a short key that is equal for dialogues that differ only in whitespace and letter case."""
    return hashlib.blake2b(dialogue_key(dialogue).encode(), digest_size=8).hexdigest()


def check_ids(rows: Sequence[SourceRow], file: str) -> None:
    """Raise UserError for an identifier that is empty or not unique within its file: scores are joined on it."""
    locations: dict[str, str] = {}
    for row in rows:
        fname = row.value.fname
        if not fname:
            raise UserError(
                f"{file}, {row.location}: the id is empty; give each row its own, "
                "or set data.columns.id to null to number the rows."
            )
        if fname in locations:
            raise UserError(
                f"{file}: {locations[fname]} and {row.location} have the same id '{fname}'; give each row its own, "
                "or set data.columns.id to null to number the rows."
            )
        locations[fname] = row.location


def unusable_reason(row: Dialogue) -> str | None:
    """Return why a row can be used for neither training nor scoring, or None if it can."""
    if not row.dialogue:
        return "empty dialogue"
    return None if row.summaries else "empty summary"


def separate_repeats(rows: Sequence[SourceRow]) -> tuple[list[SourceRow], list[SourceRow]]:
    """Return the rows with a new dialogue or summaries, and the exact repeats of earlier ones."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    unique: list[SourceRow] = []
    repeats: list[SourceRow] = []
    for row in rows:
        content = (row.value.dialogue, row.value.summaries)
        (repeats if content in seen else unique).append(row)
        seen.add(content)
    return unique, repeats


def locate(row: SourceRow, file: str) -> dict[str, str]:
    """Return the id and the location of a row, for the report."""
    return {"fname": row.value.fname, "where": f"{file}, {row.location}"}


def count_duplicates(rows: Sequence[SourceRow], file: str) -> dict[str, Any]:
    """Return which dialogues occur more than once, and in how many rows beyond the first."""
    groups: dict[str, list[SourceRow]] = {}
    for row in rows:
        groups.setdefault(dialogue_key(row.value.dialogue), []).append(row)
    repeated = [group for group in groups.values() if len(group) > 1]
    return {
        "dialogues": len(repeated),
        "rows_beyond_first": sum(len(group) - 1 for group in repeated),
        "examples": [[locate(row, file) for row in group[:MAX_EXAMPLES]] for group in repeated[:MAX_EXAMPLES]],
    }


def find_shared_dialogues(split: Sequence[SourceRow], other: Sequence[SourceRow]) -> list[tuple[SourceRow, SourceRow]]:
    """Return, for every dialogue that two splits share, its first row in each."""
    first_in_other: dict[str, SourceRow] = {}
    for row in other:
        first_in_other.setdefault(dialogue_key(row.value.dialogue), row)
    shared: dict[str, tuple[SourceRow, SourceRow]] = {}
    for row in split:
        key = dialogue_key(row.value.dialogue)
        if key in first_in_other:
            shared.setdefault(key, (row, first_in_other[key]))
    return list(shared.values())
