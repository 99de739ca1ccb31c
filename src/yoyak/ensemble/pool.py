"""The members' candidates, dialogue by dialogue: what every strategy takes, and what it gives."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.errors import UserError

CACHE_LINES = 20_000
"""Lines whose tokens are remembered: those of a few batches, so that memory does not grow with the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One dialogue with the candidates of every member, best first."""

    fname: str
    dialogue: str
    candidates: Mapping[str, Sequence[Candidate]]
    repaired: int = 0
    """Scores that were no numbers: they count as the member's lowest here."""

    def best(self, member: str) -> str:
        """Return what the member would answer by itself."""
        return self.candidates[member][0].text

    def only(self, members: Sequence[str]) -> Row:
        """Return the row with the candidates of some of its members."""
        return replace(self, candidates={member: self.candidates[member] for member in members})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a strategy makes of a row."""

    text: str
    score: float
    """How sure it is: of votes the mean share of the winners, of MBR the expected utility, each 0 to 1; of a reranker
    the score that it foresees."""
    member: str = ""
    """Who wrote the text; empty where it is made of several."""
    rank: int = 0
    """Its place among that member's candidates."""


def make_row(dialogue: Dialogue, candidates: Mapping[str, Sequence[Candidate]]) -> Row:
    """Return a row whose scores are numbers. Raises UserError that names the fname where a member has no candidate."""
    for member, found in candidates.items():
        if not found:
            raise UserError(f"Member '{member}' has no candidate for dialogue '{dialogue.fname}': predict it again.")
    repaired = sum(not _is_score(candidate.score) for found in candidates.values() for candidate in found)
    if repaired:
        candidates = {member: _finite(found) for member, found in candidates.items()}
    return Row(dialogue.fname, dialogue.dialogue, candidates, repaired)


def read_rows(dialogues: Path, predictions: Mapping[str, Path]) -> Iterator[Row]:
    """Yield the rows of a split in the order of its dialogues (prepared/<split>.jsonl), joined by fname.

    Files are read side by side, so memory does not grow with them; of one whose order differs, the places of its
    lines are kept. Raises UserError that names member and fname where a row or all its candidates are missing.
    """
    with ExitStack() as stack:
        members = {
            member: _Lines(member, path, stack.enter_context(_open(member, path)))
            for member, path in predictions.items()
        }
        for line in stack.enter_context(dialogues.open(encoding="utf-8")):
            value = json.loads(line)
            dialogue = Dialogue(**{**value, "summaries": tuple(value["summaries"])})
            yield make_row(dialogue, {member: lines.find(dialogue.fname) for member, lines in members.items()})


class _Lines:
    """A member's predictions on disk: read on while the order holds, else by the places of its lines."""

    def __init__(self, member: str, path: Path, file: BinaryIO) -> None:
        self.member, self.path, self.file = member, path, file
        self.places: dict[str, int] | None = None

    def find(self, fname: str) -> list[Candidate]:
        if self.places is None:
            line = self.file.readline()
            name, found = self._parse(line) if line else (None, [])
            if name == fname:
                return found
            self.places = self._index()
        if fname not in self.places:
            raise UserError(f"{self.path}: member '{self.member}' has no prediction for dialogue '{fname}'.")
        self.file.seek(self.places[fname])
        return self._parse(self.file.readline())[1]

    def _index(self) -> dict[str, int]:
        places, place = {}, 0
        self.file.seek(0)
        for line in self.file:
            fname = self._parse(line)[0]
            if fname in places:
                raise UserError(f"{self.path}: member '{self.member}' has dialogue '{fname}' twice: predict it again.")
            places[fname] = place
            place += len(line)
        return places

    def _parse(self, line: bytes) -> tuple[str, list[Candidate]]:
        try:
            value: dict[str, Any] = json.loads(line)
            return str(value["fname"]), [_candidate(**candidate) for candidate in value["candidates"]]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{self.path} has a damaged line ({error}): `dvc repro` makes it anew.") from error


def _open(member: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(
            f"member '{member}' has no predictions here, {path} is missing: `dvc repro` makes it."
        ) from None


def _candidate(text: str, score: float | None, view: int = 0) -> Candidate:
    if not isinstance(text, str):
        raise TypeError("a candidate's text is none")
    text.encode()
    return Candidate(text, math.nan if score is None else float(score), view)


LARGEST = 1e6
"""No length-normalised log-probability is larger: such a score is none."""


def _is_score(score: float) -> bool:
    return abs(score) < LARGEST


def _finite(candidates: Sequence[Candidate]) -> list[Candidate]:
    known = [candidate.score for candidate in candidates if _is_score(candidate.score)]
    lowest = min(known, default=0.0)
    return [candidate if _is_score(candidate.score) else replace(candidate, score=lowest) for candidate in candidates]
