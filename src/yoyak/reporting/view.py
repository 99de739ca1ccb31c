"""The content of the report: what is read from the pipeline's files and shown on the pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from yoyak.behaviour.accuracy_results import FactRate
from yoyak.reporting.behaviour import BehaviourSection
from yoyak.reporting.differences import Segment
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.ensembles import EnsembleAnalysis
from yoyak.scoring.results import Part, PrimaryScore, SystemComparison
from yoyak.tracking.decisions import Verdict

ScoreKey = tuple[str, str, str, str, str, str]
"""System, split, slice, granularity, multi-reference protocol, metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """Something that summarizes: a member, an ensemble, a baseline or the oracle."""

    name: str
    kind: str
    series: int | None
    """Index in the palette of the charts; None if they do not draw it in colour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One quantity that a training logged: pairs of epoch or step and value, in order."""

    member: str
    series: int
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dialogues of similar length or of one topic, and the mean score of each system on them."""

    label: str
    n: int
    scores: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """The test dialogues, grouped by length or by topic."""

    by: str
    groups: tuple[Group, ...]
    hidden: int
    """Number of groups that are not shown, because they are too small or there are too many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """The summary of a dialogue by a member or an ensemble."""

    member: str
    segments: tuple[Segment, ...]
    reference: int
    """Index of the most similar reference, which the segments refer to; -1 if there is none."""
    scores: Mapping[str, float]

    @property
    def empty(self) -> bool:
        return all(segment.kind == "missing" for segment in self.segments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A dialogue that is shown in full."""

    part: Part
    fname: str
    topic: str
    rank: str
    turns: tuple[tuple[str, str], ...]
    """Pairs of speaker (may be empty) and words."""
    more_turns: int
    references: tuple[str, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A plain table of formatted cells; the first cell of each row is its header."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @property
    def numeric(self) -> tuple[bool, ...]:
        """For each column, whether its cells are numbers, which are aligned right."""
        return tuple(
            all(re.match(r"(≤\s)?([+−]?[\d,.–]+%?|none|)(\s|$)", cell) for cell in cells)
            for cells in zip(*self.rows, strict=True)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A row before and after a method: the turns and summaries that differ; for pseudo-labels, dialogue and summary."""

    method: str
    fname: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentationSection:
    """The section on added rows."""

    methods: Table
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactSection:
    """The section on facts."""

    tables: tuple[Table, ...]
    """The systems on each part, the headline's part first."""
    known: bool
    """Whether the data say what a summary has to state, for any dialogue of these parts."""
    rates: Mapping[tuple[str, Part], FactRate]
    """How often a system has all facts of a summary right, where they are known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensembles:
    """The section on ensembles."""

    conclusion: str
    best: str
    """The ensemble that is best on dev."""
    results: tuple[Table, ...]
    """The strategies on each part, the headline's part first."""
    rerankers: Table | None
    """What each `stack` has learned."""
    choices: tuple[Table, ...]
    """What each `auto` has chosen among."""
    contributions: Table
    agreement: Table | None
    lengths: Table
    analysis: EnsembleAnalysis


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """Cost and metrics of a training; None for what was not logged."""

    parameters: float | None = None
    seconds: float | None = None
    steps: float | None = None
    samples_per_second: float | None = None
    peak_memory_mb: float | None = None
    device: str | None = None
    train_loss: float | None = None
    eval_loss: float | None = None
    eval_combined: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """The section on the registry."""

    versions: Table
    decision: str
    """The decision about the champion, as a sentence; may be empty."""
    tracking_uri: str
    """Address of MLflow without its password; may be empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """The section on the best model and the champion."""

    decision: str
    comparison: str
    """What was compared, or why nothing was, in a sentence or two."""
    tables: tuple[Table, ...]
    """What the gate measured and what it checked; empty if nothing was compared."""
    history: Table | None
    """Decisions about the champion, the newest first."""
    verdict: Verdict | None
    min_gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageStep:
    """Something that the best model comes from or became, in the picture of its lineage."""

    by: str
    """The stage that made it; empty for what is there from the beginning."""
    title: str
    detail: str
    md5: str
    """Empty if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineagePicture:
    """The steps from the data to the alias, and what they ran with."""

    steps: tuple[LineageStep, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything that the pages show."""

    title: str
    folder: str
    weights: tuple[float, float, float]
    primary: PrimaryScore
    confidence: float
    bootstrap_samples: int
    systems: tuple[System, ...]
    parts: tuple[Part, ...]
    """The headline's part first, dev last; without gate."""
    gate: int
    """Number of dialogues of the gate split."""
    granularities: tuple[str, ...]
    scores: Mapping[ScoreKey, Interval]
    comparisons: Mapping[tuple[str, str, Part, str], SystemComparison]
    """By system, against, part and metric."""
    best_member: str
    best_baseline: str
    trainings: Mapping[str, Training]
    """By member; only those that were trained here."""
    curves: Mapping[str, tuple[Curve, ...]]
    """By quantity: ``loss``, ``eval_loss`` and ``eval_combined``, if any member logged it."""
    curves_by: str
    """Unit of the horizontal axis: ``epoch`` or ``step``."""
    groupings: tuple[Grouping, ...]
    ensembles: Ensembles | None
    """None if there are none."""
    facts: FactSection | None
    """None if they were not measured."""
    behaviour: BehaviourSection | None
    """None if no member was tested."""
    examples: tuple[Example, ...]
    splits: Table
    cleaning: tuple[Table, ...]
    """What happened to the rows of the data files, according to `prepare`."""
    preparation: tuple[Table, ...]
    """Everything else that `prepare` reported."""
    augmentation: AugmentationSection | None
    """None if no rows were added to train."""
    promotion: Promotion | None
    picture: LineagePicture | None
    registry: Registry | None
    params_text: str
    lineage: tuple[tuple[str, str], ...]
    """What the page was built from, as labels and values."""
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why members and ensembles are missing, by name; empty unless `train.on_error` is isolate."""
    windows: Table | None = None
    """Which dialogues do not fit into the windows of members; None if none has one."""
    folds: tuple[str, ...] = ()
    """Members that evaluated their training on the part of the training set that they hold out, not on dev."""

    @property
    def headline(self) -> Part:
        return self.parts[0]

    @property
    def evaluated_on(self) -> str:
        """What trainings were evaluated on."""
        if not self.folds:
            return "dev"
        return "held-out" if len(self.folds) == len(self.trainings) else "dev or held-out"

    @property
    def trainings_note(self) -> str:
        """What readers must know to compare figures of trainings with each other, and with the scores of all of dev."""
        sample = (
            f"The {self.evaluated_on} figures are those of the checkpoint that was kept. It was chosen by this ROUGE, "
            "which is of greedy summaries of a sample (evaluation_dialogues), and so is not its score on all of "
            "dev. Losses are per token, so that those of members with different tokenizers cannot be compared."
        )
        if not self.folds:
            return sample
        return (
            f"{sample} The training of {', '.join(self.folds)} was evaluated on the part of the training set that each "
            "has held out, not on dev: losses and scores of different parts cannot be compared."
        )

    @property
    def models(self) -> tuple[System, ...]:
        return tuple(system for system in self.systems if system.kind not in ("baseline", "oracle"))

    @property
    def members(self) -> tuple[System, ...]:
        return tuple(system for system in self.systems if system.kind == "member")

    @property
    def baselines(self) -> tuple[System, ...]:
        """The extractive baselines and the oracle."""
        return tuple(system for system in self.systems if system.kind in ("baseline", "oracle"))

    def score(
        self,
        system: str,
        part: Part,
        metric: str,
        granularity: str | None = None,
        protocol: str | None = None,
    ) -> Interval | None:
        """Return a score, by default of the primary granularity and protocol; None if there is none."""
        key = (
            system,
            part.split,
            part.slice,
            granularity or self.primary.granularity,
            protocol or self.primary.multi_reference,
            metric,
        )
        return self.scores.get(key)

    def comparison(self, system: str, against: str, part: Part, metric: str) -> SystemComparison | None:
        """Return the paired difference of two systems, whichever way they were compared; None if they were not."""
        comparison = self.comparisons.get((system, against, part, metric))
        if comparison:
            return comparison
        opposite = self.comparisons.get((against, system, part, metric))
        return opposite.swapped() if opposite else None
