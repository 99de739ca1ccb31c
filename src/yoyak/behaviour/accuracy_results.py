"""How many summaries have their facts right, in evaluation/facts.json."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from yoyak.behaviour.results import make_rate
from yoyak.files import read_result, write_result

EVERY = "all"
"""The kind under which all facts of a summary count at once, and the slice that is an entire split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FactRate:
    """How many summaries of a system have the facts of a kind right."""

    system: str
    split: str
    slice: str
    """`EVERY` for an entire split."""
    kind: str
    """A kind of `yoyak.behaviour.accuracy`, or `EVERY`."""
    right: int
    n: int
    """Summaries that state such a fact, or should."""
    share: float
    low: float
    """Lower end of the Wilson interval."""
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FactAccuracy:
    """The rates of all systems."""

    confidence: float
    known: dict[str, int]
    """Dialogues of each split whose facts the data say. Without them only what is made up or mixed up can be told."""
    rates: tuple[FactRate, ...]
    version: Literal[1] = 1
    """Version of the file's format."""

    def shares(self, system: str) -> dict[str, float]:
        """Return the share of a system's summaries that have every fact right, by split whose facts are known."""
        return {
            rate.split: rate.share
            for rate in self.rates
            if (rate.system, rate.slice, rate.kind) == (system, EVERY, EVERY) and self.known[rate.split]
        }


def make_fact_rates(
    counts: Mapping[str, tuple[int, int]], *, system: str, split: str, slice: str, confidence: float
) -> list[FactRate]:
    """Return the rate of each kind, given how many summaries have it right and how many state it or should."""
    rates = []
    for kind, (right, n) in sorted(counts.items()):
        wrong = make_rate(kind, n - right, n, confidence)
        rates.append(
            FactRate(
                system=system, split=split, slice=slice, kind=kind, right=right, n=n,
                share=round(1 - wrong.rate, 6), low=round(1 - wrong.high, 6), high=round(1 - wrong.low, 6),
            )
        )  # fmt: skip
    return rates


def read_fact_accuracy(path: str | os.PathLike[str]) -> FactAccuracy:
    """Read what `write_fact_accuracy` wrote; UserError if the file is missing, damaged or of another version."""
    return read_result(path, FactAccuracy, command="dvc repro evaluate")


def write_fact_accuracy(path: str | os.PathLike[str], accuracy: FactAccuracy) -> None:
    """Write results as JSON."""
    write_result(path, accuracy)
