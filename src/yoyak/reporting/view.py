"""What the report shows: small frozen values between the files that are read and the pages that are written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from yoyak.reporting.differences import Segment
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.results import Part, SystemComparison

ScoreKey = tuple[str, str, str, str, str, str]
"""System, split, slice, granularity, multi-reference protocol, metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Something that writes summaries: a member, an ensemble, a baseline, the oracle."""

    name: str
    kind: str
    series: int | None
    """Place in the palette of the charts, or None for what they do not draw in colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One logged quantity of one training: (epoch or step, value) in order."""

    member: str
    series: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dialogues of one length or topic, and the mean score of each system on them."""

    label: str
    n: int
    scores: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The test dialogues cut into groups."""

    by: str
    groups: tuple[Group, ...]
    hidden: int
    """Further groups that are too small or too many to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The summary of a dialogue by a member or an ensemble."""

    member: str
    segments: tuple[Segment, ...]
    reference: int
    """Index of the nearest reference, which the segments are relative to; -1 where there is none."""
    scores: Mapping[str, float]

    @property
    def empty(self) -> bool:
        return all(segment.kind == "missing" for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A dialogue that is shown whole."""

    part: Part
    fname: str
    topic: str
    rank: str
    turns: tuple[tuple[str, str], ...]
    """Speaker (may be empty) and words."""
    more_turns: int
    references: tuple[str, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A plain table of ready strings; the first cell of a row names it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Say of each column whether its cells are figures, to be set flush right."""
        return tuple(
            all(re.match(r"(≤\s)?([+−]?[\d,.–]+|none|)(\s|$)", cell) for cell in cells)
            for cells in zip(*self.rows, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensembles:
    """What the page says of ensembles."""

    conclusion: str
    best: str
    """The ensemble that is best on dev."""
    results: tuple[Table, ...]
    """The strategies of each part, the headline's first."""
    contributions: Table
    agreement: Table | None
    lengths: Table
    analysis: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything on the page."""

    title: str
    folder: str
    weights: tuple[float, float, float]
    primary: tuple[str, str, str]
    """Granularity, multi-reference protocol and metric that models are chosen by."""
    confidence: float
    bootstrap_samples: int
    systems: tuple[System, ...]
    parts: tuple[Part, ...]
    """The part of the headline first, dev last."""
    granularities: tuple[str, ...]
    scores: Mapping[ScoreKey, Interval]
    comparisons: Mapping[tuple[str, str, Part, str], SystemComparison]
    """By system, against, part and metric."""
    best_member: str
    best_baseline: str
    trainings: Mapping[str, Mapping[str, object]]
    curves: Mapping[str, tuple[Curve, ...]]
    """``loss``, ``eval_loss`` and ``eval_combined``; a quantity that nobody logged has no curves."""
    curves_by: str
    """Unit of the curves' first coordinate: ``epoch`` or ``step``."""
    groupings: tuple[Grouping, ...]
    ensembles: Ensembles | None
    """None where there are none."""
    examples: tuple[Example, ...]
    splits: Table
    cleaning: tuple[Table, ...]
    """What happened to the rows of the data files, by what `prepare` reported."""
    findings: tuple[Table, ...]
    """All of what `prepare` reported."""
    registry: Mapping[str, object] | None
    params_text: str
    lineage: tuple[tuple[str, str], ...]
    """Label and value of what this page was made from."""

    @property
    def headline(self) -> Part:
        return self.parts[0]

    @property
    def models(self) -> tuple[System, ...]:
        return tuple(system for system in self.systems if system.kind not in ("baseline", "oracle"))

    @property
    def members(self) -> tuple[System, ...]:
        return tuple(system for system in self.systems if system.kind == "member")

    @property
    def yardsticks(self) -> tuple[System, ...]:
        return tuple(system for system in self.systems if system.kind in ("baseline", "oracle"))

    def score(
        self,
        system: str,
        part: Part,
        metric: str,
        granularity: str | None = None,
        protocol: str | None = None,
    ) -> Interval | None:
        """Return a score, by the primary granularity and protocol unless told; None where there is none."""
        key = (
            system,
            part.split,
            part.slice,
            granularity or self.primary[0],
            protocol or self.primary[1],
            metric,
        )
        return self.scores.get(key)

    def comparison(self, system: str, against: str, part: Part, metric: str) -> SystemComparison | None:
        """Return the paired difference of two systems, whichever way round it was written."""
        found = self.comparisons.get((system, against, part, metric))
        if found:
            return found
        turned = self.comparisons.get((against, system, part, metric))
        return turned.swapped() if turned else None
