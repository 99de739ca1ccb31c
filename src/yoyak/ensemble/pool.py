"""The members' candidates, dialogue by dialogue: the input of every strategy, and its outcome."""

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
"""Lines whose tokens are cached: those of a few batches, so that memory does not grow with the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One dialogue with the candidates of every member, best first."""

    fname: str
    dialogue: str
    candidates: Mapping[str, Sequence[Candidate]]
    repaired: int = 0
    """Number of scores that were not finite; they were replaced by the member's lowest score in this row."""

    def best(self, member: str) -> str:
        """Return the member's own summary."""
        return self.candidates[member][0].text

    def only(self, members: Sequence[str]) -> Row:
        """Return the row with the candidates of some of its members."""
        return replace(self, candidates={member: self.candidates[member] for member in members})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The summary that a strategy gives for a row."""

    text: str
    score: float
    """Its confidence: for votes the mean share of the winners, for MBR the expected utility, both 0 to 1; for a
    reranker the predicted score."""
    member: str = ""
    """The member that wrote the text; empty if it is put together from several."""
    rank: int = 0
    """Rank among that member's candidates, 0 being the best."""


def make_row(dialogue: Dialogue, candidates: Mapping[str, Sequence[Candidate]]) -> Row:
    """Return a row whose scores are all finite. Raises UserError, naming the fname, if a member has no candidate."""
    for member, nbest in candidates.items():
        if not nbest:
            raise UserError(f"Member '{member}' has no candidate for dialogue '{dialogue.fname}': predict it again.")
    repaired = sum(not _is_score(candidate.score) for nbest in candidates.values() for candidate in nbest)
    if repaired:
        candidates = {member: _repair_scores(nbest) for member, nbest in candidates.items()}
    return Row(dialogue.fname, dialogue.dialogue, candidates, repaired)


def read_rows(dialogues: Path, predictions: Mapping[str, Path]) -> Iterator[Row]:
    """Yield the rows of a split in the order of its dialogues (prepared/<split>.jsonl), joined by fname.

    Files are read side by side, so that memory does not grow with them; for a file in another order, the offsets of
    its lines are kept. Raises UserError, naming member and fname, if a row or all of its candidates are missing.
    """
    with ExitStack() as stack:
        members = {
            member: _PredictionFile(member, path, stack.enter_context(_open(member, path)))
            for member, path in predictions.items()
        }
        for line in stack.enter_context(dialogues.open(encoding="utf-8")):
            value = json.loads(line)
            dialogue = Dialogue(**{**value, "summaries": tuple(value["summaries"])})
            yield make_row(dialogue, {member: lines.find(dialogue.fname) for member, lines in members.items()})


class _PredictionFile:
    """A member's predictions on disk: read in sequence while the order matches, else by the offsets of its lines."""

    def __init__(self, member: str, path: Path, file: BinaryIO) -> None:
        self.member, self.path, self.file = member, path, file
        self.offsets: dict[str, int] | None = None

    def find(self, fname: str) -> list[Candidate]:
        if self.offsets is None:
            line = self.file.readline()
            name, candidates = self._parse(line) if line else (None, [])
            if name == fname:
                return candidates
            self.offsets = self._read_offsets()
        if fname not in self.offsets:
            raise UserError(f"{self.path}: member '{self.member}' has no prediction for dialogue '{fname}'.")
        self.file.seek(self.offsets[fname])
        return self._parse(self.file.readline())[1]

    def _read_offsets(self) -> dict[str, int]:
        offsets, offset = {}, 0
        self.file.seek(0)
        for line in self.file:
            fname = self._parse(line)[0]
            if fname in offsets:
                raise UserError(f"{self.path}: member '{self.member}' has dialogue '{fname}' twice: predict it again.")
            offsets[fname] = offset
            offset += len(line)
        return offsets

    def _parse(self, line: bytes) -> tuple[str, list[Candidate]]:
        try:
            value: dict[str, Any] = json.loads(line)
            return str(value["fname"]), [_candidate(**candidate) for candidate in value["candidates"]]
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{self.path} has a damaged line ({error}): `dvc repro` writes it again.") from error


def _open(member: str, path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(
            f"member '{member}' has no predictions here, {path} is missing: `dvc repro` writes it."
        ) from None


def _candidate(text: str, score: float | None, view: int = 0) -> Candidate:
    if not isinstance(text, str):
        raise TypeError("a candidate's text is not a string")
    text.encode()
    return Candidate(text, math.nan if score is None else float(score), view)


LARGEST = 1e6
"""No length-normalised log-probability is larger in size: such a score is an error."""


def _is_score(score: float) -> bool:
    return abs(score) < LARGEST


def _repair_scores(candidates: Sequence[Candidate]) -> list[Candidate]:
    lowest = min((candidate.score for candidate in candidates if _is_score(candidate.score)), default=0.0)
    return [candidate if _is_score(candidate.score) else replace(candidate, score=lowest) for candidate in candidates]
