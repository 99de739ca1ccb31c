"""Decisions about champions as values: what the gate said and what was done, for the registry and for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Outcome = Literal["passed", "failed", "undecided"]
Action = Literal["first", "promote", "force", "rollback"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition of the gate."""

    name: str
    passed: bool
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the gate said of a challenger, and against which champion."""

    outcome: Outcome
    """``undecided`` if the gate could not decide; ``sentence`` says why."""
    sentence: str
    champion: int
    """Version that the challenger was compared with. The verdict holds only while that one is champion."""
    dataset: str
    """DVC's md5 of the gate split."""
    dialogues: int
    """Number of dialogues that were compared."""
    attempt: int
    """How many challengers this champion has met, including this one."""
    significance: float
    """What ``p_value`` had to be below, given the attempt."""
    gain: float | None = None
    """Mean difference in combined ROUGE."""
    low: float | None = None
    high: float | None = None
    """Bootstrap interval of the gain, at the confidence of ``1 - registry.significance``."""
    p_value: float | None = None
    checks: tuple[Check, ...] = ()

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"

    @property
    def figures(self) -> dict[str, str | int | float]:
        """The verdict as flat values, for tags."""
        names = ("outcome", "sentence", "champion", "dataset", "dialogues", "attempt", "significance")
        values = {name: getattr(self, name) for name in names}
        numbers = {name: getattr(self, name) for name in ("gain", "low", "high", "p_value")}
        checks = {f"check.{check.name}": str(check.passed).lower() for check in self.checks}
        return {**values, **{name: round(value, 6) for name, value in numbers.items() if value is not None}, **checks}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One decision about a champion."""

    number: int
    after: int
    """Number of the last valid entry that its author knew; 0 for none."""
    action: Action
    source: int
    """The champion before; 0 for none."""
    target: int
    """The champion that this entry makes."""
    who: str
    when: str
    """ISO 8601, UTC."""
    commit: str
    reason: str
    verdict: Mapping[str, Any] = field(default_factory=dict)
    """Figures of the gate, if it was asked."""
    valid: bool = True
    """Whether it took effect: False if another decision was faster."""
