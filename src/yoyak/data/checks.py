"""Checks of rows: ids, empty texts, repeated dialogues, and dialogues shared by two splits."""

from __future__ import annotations

from typing import Any

import numpy as np

from yoyak.data.keys import hash_text
from yoyak.data.reading import SourceRow
from yoyak.data.records import Dialogue
from yoyak.data.source_rows import SourceRows
from yoyak.errors import UserError

MAX_EXAMPLES = 20
"""Maximum number of rows that the report lists per finding."""
_EMPTY = np.uint64(hash_text(""))
"""The digest of an empty text."""


def check_ids(rows: SourceRows, file: str) -> None:
    """Raise UserError for an identifier that is empty or not unique within its file: scores are joined on it."""
    ids = rows.ids
    for index in np.flatnonzero(find_repeats(ids) | (ids == _EMPTY)):
        row = rows[int(index)]
        if not row.value.fname:
            raise UserError(
                f"{file}, {row.location}: the id is empty; give each row its own, "
                "or set data.columns.id to null to number the rows."
            )
        first = rows[int(np.flatnonzero(ids == ids[index])[0])]
        if first.value.fname == row.value.fname:
            raise UserError(
                f"{file}: {first.location} and {row.location} have the same id '{row.value.fname}'; give each row its "
                "own, or set data.columns.id to null to number the rows."
            )


def find_repeats(digests: np.ndarray) -> np.ndarray:
    """Return [rows]: whether each digest occurred before."""
    repeats = np.ones(len(digests), bool)
    repeats[np.unique(digests, return_index=True)[1]] = False
    return repeats


def unusable_reason(row: Dialogue) -> str | None:
    """Return why a row can be used for neither training nor scoring, or None if it can."""
    if not row.dialogue:
        return "empty dialogue"
    return None if row.summaries else "empty summary"


def separate_repeats(rows: SourceRows) -> tuple[SourceRows, SourceRows]:
    """Return the rows with a new dialogue or summaries, and the exact repeats of earlier ones."""
    repeats = find_repeats(rows.contents)
    return rows.select(~repeats), rows.select(repeats)


def locate(row: SourceRow, file: str) -> dict[str, str]:
    """Return the id and the location of a row, for the report."""
    return {"fname": row.value.fname, "where": f"{file}, {row.location}"}


def count_duplicates(rows: SourceRows, file: str) -> dict[str, Any]:
    """Return which dialogues occur more than once, and in how many rows beyond the first."""
    keys = rows.keys
    distinct, first, counts = np.unique(keys, return_index=True, return_counts=True)
    repeated = counts > 1
    shown = distinct[repeated][np.argsort(first[repeated])][:MAX_EXAMPLES]
    return {
        "dialogues": int(repeated.sum()),
        "rows_beyond_first": int((counts[repeated] - 1).sum()),
        "examples": [[locate(row, file) for row in rows.select(keys == key)[:MAX_EXAMPLES]] for key in shown],
    }


def find_shared_dialogues(split: SourceRows, other: SourceRows) -> tuple[SourceRows, SourceRows]:
    """Return, for every dialogue that two splits share, its first row in each."""
    mine, first = np.unique(split.keys, return_index=True)
    theirs, first_in_other = np.unique(other.keys, return_index=True)
    _, in_mine, in_theirs = np.intersect1d(mine, theirs, assume_unique=True, return_indices=True)
    order = np.argsort(first[in_mine])
    return split.select(first[in_mine][order]), other.select(first_in_other[in_theirs][order])
