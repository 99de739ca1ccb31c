"""The input of every strategy, the members' candidates for each dialogue, and its outcome."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Generic, TypeVar

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.errors import UserError

DIGITS = 9
"""Digits to which scores are compared; differences beyond them are due to the order of summation."""
CACHE_LINES = 20_000
"""Cached lines of tokens: enough for a few batches, so that memory does not grow with the file."""


@dataclass(frozen=True, slots=True)
class Row:
    """One dialogue with the candidates of every member, best first."""

    fname: str
    dialogue: str
    candidates: Mapping[str, Sequence[Candidate]]
    repaired: int = 0
    """Number of non-finite scores, which were replaced by the member's lowest score in this row."""
    likelihoods: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By member that scored them, then by text: the log-likelihood of every candidate, in nats per character. Members
    that cannot score are missing."""

    def best(self, member: str) -> str:
        """Return the member's own summary."""
        return self.candidates[member][0].text


@dataclass(frozen=True, slots=True)
class Outcome:
    """The summary that a strategy chooses for a row."""

    text: str
    score: float
    """Its confidence: the winners' mean share of the votes for voting, the expected utility for MBR (both 0 to 1), the
    mean log-likelihood for consensus likelihood, and the predicted gain over the best member for a reranker."""
    member: str = ""
    """The member that wrote the text; empty if it combines text of several."""
    rank: int = 0
    """Rank among that member's candidates; 0 is the best."""


def make_row(
    dialogue: Dialogue,
    candidates: Mapping[str, Sequence[Candidate]],
    likelihoods: Mapping[str, Mapping[str, float]] | None = None,
) -> Row:
    """Return a row with only finite scores. Raises UserError with the fname if a member has no candidates."""
    for member, nbest in candidates.items():
        if not nbest:
            raise UserError(f"Member '{member}' has no candidates for dialogue '{dialogue.fname}': predict it again.")
    repaired = sum(not _is_score(candidate.score) for nbest in candidates.values() for candidate in nbest)
    if repaired:
        candidates = {member: _repair_scores(nbest) for member, nbest in candidates.items()}
    return Row(dialogue.fname, dialogue.dialogue, candidates, repaired, likelihoods or {})


def read_rows(
    dialogues: Path, predictions: Mapping[str, Path], scores: Mapping[str, Path] | None = None
) -> Iterator[Row]:
    """Yield the rows of a split in the order of its dialogues (prepared/<split>.jsonl), joined by fname.

    Files are read in parallel line by line, so that memory does not grow with them; for a file in a different order,
    the offsets of its lines are indexed. Raises UserError with the member and fname if a row or all of its candidates
    are missing.

    Args:
        scores: What the members that can score wrote about all candidates.
    """
    with ExitStack() as stack:
        members = {
            member: PredictionFile(who := f"member '{member}'", path, stack.enter_context(open_rows(who, path)))
            for member, path in predictions.items()
        }
        scorers = {
            member: _ScoreFile(who := f"member '{member}'", path, stack.enter_context(open_rows(who, path)))
            for member, path in (scores or {}).items()
        }
        for line in stack.enter_context(dialogues.open(encoding="utf-8")):
            value = json.loads(line)
            dialogue = Dialogue(**{**value, "summaries": tuple(value["summaries"])})
            candidates = {member: lines.find(dialogue.fname) for member, lines in members.items()}
            likelihoods = {member: lines.find_all(dialogue.fname, candidates) for member, lines in scorers.items()}
            yield make_row(dialogue, candidates, likelihoods)


Value = TypeVar("Value")


class RowFile(Generic[Value]):
    """What a member or an ensemble wrote for each dialogue: read sequentially while the order matches, then by line
    offsets.
    """

    def __init__(self, who: str, path: Path, file: BinaryIO) -> None:
        self.who, self.path, self.file = who, path, file
        self.offsets: dict[str, int] | None = None

    def find(self, fname: str) -> Value:
        """Return what was written for a dialogue. Raises UserError if there is nothing."""
        value = self.find_any(fname)
        if value is None:
            raise UserError(f"{self.path}: {self.who} has no prediction for dialogue '{fname}'.")
        return value

    def find_any(self, fname: str) -> Value | None:
        """Return what was written for a dialogue, or None if there is nothing."""
        if self.offsets is None:
            line = self.file.readline()
            if line:
                name, value = self._parse(line)
                if name == fname:
                    return value
            self.offsets = self._read_offsets()
        if fname not in self.offsets:
            return None
        self.file.seek(self.offsets[fname])
        return self._parse(self.file.readline())[1]

    def read_value(self, value: Mapping[str, Any]) -> Value:
        """Return what a line says besides the fname."""
        raise NotImplementedError

    def _read_offsets(self) -> dict[str, int]:
        offsets, offset = {}, 0
        self.file.seek(0)
        for line in self.file:
            fname = self._parse(line)[0]
            if fname in offsets:
                raise UserError(f"{self.path}: {self.who} has two predictions for dialogue '{fname}': predict again.")
            offsets[fname] = offset
            offset += len(line)
        return offsets

    def _parse(self, line: bytes) -> tuple[str, Value]:
        try:
            value: dict[str, Any] = json.loads(line)
            return str(value["fname"]), self.read_value(value)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise UserError(f"{self.path} has a damaged line ({error}): `dvc repro` recreates it.") from error


class PredictionFile(RowFile[list[Candidate]]):
    """A member's candidates."""

    def read_value(self, value: Mapping[str, Any]) -> list[Candidate]:
        return [_parse_candidate(**candidate) for candidate in value["candidates"]]


class _ScoreFile(RowFile[dict[str, float]]):
    """How likely a member finds all candidates, by text."""

    def read_value(self, value: Mapping[str, Any]) -> dict[str, float]:
        return {text: float(score) for text, score in value["scores"].items()}

    def find_all(self, fname: str, candidates: Mapping[str, Sequence[Candidate]]) -> dict[str, float]:
        scores = self.find(fname)
        if any(candidate.text not in scores for nbest in candidates.values() for candidate in nbest):
            raise UserError(
                f"{self.path}: {self.who} has not scored all candidates of dialogue '{fname}': `dvc repro` scores them."
            )
        return scores


def open_rows(who: str, path: Path) -> BinaryIO:
    """Open what a member or an ensemble wrote of a split. Raises UserError if the file is missing."""
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise UserError(f"{who} has no predictions: {path} is missing; `dvc repro` creates it.") from None


def _parse_candidate(text: str, score: float | None, view: int = 0) -> Candidate:
    if not isinstance(text, str):
        raise TypeError("a candidate's text is not a string")
    text.encode()
    return Candidate(text, math.nan if score is None else float(score), view)


MAX_SCORE = 1e6
"""Upper bound for the magnitude of a length-normalised log-probability: a larger score is an error."""


def _is_score(score: float) -> bool:
    return abs(score) < MAX_SCORE


def _repair_scores(candidates: Sequence[Candidate]) -> list[Candidate]:
    lowest = min((candidate.score for candidate in candidates if _is_score(candidate.score)), default=0.0)
    return [candidate if _is_score(candidate.score) else replace(candidate, score=lowest) for candidate in candidates]
