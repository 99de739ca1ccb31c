"""The section on behaviour: how often the members fail each check, and examples."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from yoyak import project
from yoyak.behaviour.results import CHECKS, Behaviour, Failure, Rate, read_behaviour

EXAMPLES = 2
"""Failures shown for each check and member; behaviour/<member>.json has more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """A check with the rate of each member."""

    label: str
    n: int
    rates: tuple[Rate | None, ...]
    """In the order of the members; None if the check was not tried."""
    references: Rate | None
    """The rate of the references, if the check was tried on them."""

    @property
    def cells(self) -> tuple[Rate | None, ...]:
        """The columns of a table: the members, then the references."""
        return *self.rates, self.references


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownFailure:
    """A failure with the member that failed."""

    member: str
    label: str
    """What a failure of the check is."""
    failure: Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class BehaviourSection:
    """What the pages say about behaviour."""

    members: tuple[str, ...]
    cases: tuple[str, ...]
    confidence: float
    rows: tuple[CheckRow, ...]
    failures: tuple[ShownFailure, ...]
    """In the order of the checks."""


def read_section(root: Path, members: Sequence[str]) -> BehaviourSection | None:
    """Return the section on the members that were tested; None if none was."""
    files = {member: root / project.behaviour_file(member) for member in members}
    results = {member: read_behaviour(path) for member, path in files.items() if path.is_file()}
    return make_section(results) if results else None


def make_section(results: dict[str, Behaviour]) -> BehaviourSection:
    """Return the section on these results, by member."""
    first = next(iter(results.values()))
    return BehaviourSection(
        members=tuple(results),
        cases=tuple(dict.fromkeys(name for result in results.values() for name in result.cases)),
        confidence=first.confidence,
        rows=tuple(_make_rows(results)),
        failures=tuple(_choose_failures(results)),
    )


def _make_rows(results: dict[str, Behaviour]) -> Iterator[CheckRow]:
    references = next(iter(results.values())).references
    for check, label in CHECKS.items():
        rates = tuple(result.rates.get(check) for result in results.values())
        sizes = [rate.n for rate in rates if rate]
        if sizes:
            yield CheckRow(label=label, n=max(sizes), rates=rates, references=references.get(check))


def _choose_failures(results: dict[str, Behaviour]) -> Iterator[ShownFailure]:
    for check, label in CHECKS.items():
        for member, result in results.items():
            failures = [failure for failure in result.failures if failure.check == check]
            for failure in failures[:EXAMPLES]:
                yield ShownFailure(member=member, label=label, failure=failure)
