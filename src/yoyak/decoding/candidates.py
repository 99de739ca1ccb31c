"""Candidates: the n-best summaries of one member, written once by `predict` and read by the stages after it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Protocol

from yoyak.files import atomic_path, read_json_lines

WHOLE, READ = "whole", "read"
"""How a dialogue was read that fits into the window, and the key of a line that says how another one was."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One generated summary."""

    text: str
    score: float
    """Length-normalised log-probability of the sequence (natural logarithm, 0 is certain)."""
    view: int = 0
    """0 for the original dialogue, else the number of its augmented version (`ensemble.tta`)."""


class WriteCandidates(Protocol):
    """Appends rows to a file of candidates."""

    def __call__(self, rows: Iterable[tuple[str, Sequence[Candidate]]], read: Sequence[str] = ()) -> None: ...


def write_candidates(
    path: str | os.PathLike[str], rows: Iterable[tuple[str, Sequence[Candidate]]], read: Sequence[str] = ()
) -> None:
    """Write ``(fname, candidates best first)`` rows as JSON lines, and how dialogues were read that were not whole."""
    with open_candidates(path) as write:
        write(rows, read)


@contextmanager
def open_candidates(path: str | os.PathLike[str]) -> Iterator[WriteCandidates]:
    """Yield a function that appends rows as `write_candidates` writes them; the file is there when the block ends."""
    with atomic_path(path) as work, work.open("w", encoding="utf-8", newline="\n") as out:

        def write(rows: Iterable[tuple[str, Sequence[Candidate]]], read: Sequence[str] = ()) -> None:
            for index, (fname, candidates) in enumerate(rows):
                row: dict[str, object] = {
                    "fname": fname,
                    "candidates": [_to_json(candidate) for candidate in candidates],
                }
                if read and read[index] != WHOLE:
                    row[READ] = read[index]
                out.write(json.dumps(row, ensure_ascii=False) + "\n")

        yield write


def read_candidates(path: str | os.PathLike[str]) -> dict[str, list[Candidate]]:
    """Read what `write_candidates` wrote, keyed by fname in file order."""
    rows = read_json_lines(path)
    return {row["fname"]: [Candidate(**candidate) for candidate in row["candidates"]] for row in rows}


def _to_json(candidate: Candidate) -> dict[str, object]:
    return {key: value for key, value in asdict(candidate).items() if key != "view" or value}
