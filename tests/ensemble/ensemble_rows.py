"""Rows and files of candidates, as short as a test can write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.ensemble.pool import Row, make_row


def row_of(fname: str = "a", dialogue: str = "#Person1#: 네.", /, **texts: str | Sequence[str]) -> Row:
    """A row of the texts that each member wrote, best first; scores fall by 0.1."""
    return make_row(
        Dialogue(fname=fname, dialogue=dialogue), {member: nbest(ranked) for member, ranked in texts.items()}
    )


def nbest(texts: str | Sequence[str]) -> list[Candidate]:
    ranked = [texts] if isinstance(texts, str) else texts
    return [Candidate(text, -0.1 * (rank + 1)) for rank, text in enumerate(ranked)]


def keep_members(rows: Sequence[Row], members: Sequence[str]) -> list[Row]:
    """Return the rows with only the candidates of these members."""
    return [replace(row, candidates={member: row.candidates[member] for member in members}) for row in rows]


def write_members(folder: Path, split: str, rows: Sequence[Row]) -> dict[str, Path]:
    """Write the candidates of each member to its own file, and return the files by member."""
    files = {member: folder / member / f"{split}.jsonl" for member in rows[0].candidates}
    for member, path in files.items():
        write_candidates(path, [(row.fname, row.candidates[member]) for row in rows])
    return files


def equal(members: Mapping[str, object] | Sequence[str]) -> dict[str, float]:
    return {member: 1 / len(members) for member in members}
