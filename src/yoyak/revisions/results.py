"""What differs between two revisions, as typed values; `yoyak diff --json` prints them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from yoyak.scoring.bootstrap import Comparison, Interval

Verdict = Literal["better", "worse", "no significant difference", "not tested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One side of the comparison."""

    name: str
    """As it was named on the command line."""
    commit: str
    """Empty for the work tree."""

    @property
    def label(self) -> str:
        """Its name, with the commit unless that is the name."""
        short = self.commit[:7]
        return f"{self.name} ({short})" if short and not self.commit.startswith(self.name) else short or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ParamChange:
    """A param whose value differs; a side that does not have it has None and ``missing``."""

    file: str
    key: str
    old: Any
    new: Any
    missing: Literal["old", "new", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataChange:
    """A path that a ``.dvc`` file tracks and that has another digest."""

    path: str
    old_md5: str
    new_md5: str
    """Empty on a side that does not track the path."""
    old_size: int | None
    new_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChange:
    """How the rows of a data file differ. A changed row has the same identifier and other contents."""

    file: str
    split: str
    """Empty if `data.files` does not name the file."""
    old_rows: int
    new_rows: int
    added: int
    removed: int
    changed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChange:
    """Lines of code that a room, or a folder outside of the package, gained and lost."""

    room: str
    files: int
    added: int
    removed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StaleStage:
    """A stage whose result in dvc.lock does not belong to what the revision has."""

    name: str
    reasons: tuple[str, ...]
    """Dependencies and params that are not those of dvc.lock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricChange:
    """A metric of a file in metrics/ that is no score of a system."""

    file: str
    key: str
    old: float | None
    new: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreChange:
    """A system's score on one split in both revisions, with a paired test where both were scored by dialogue."""

    system: str
    """``bart``, or ``bart → t5`` for the best members of the two revisions."""
    split: str
    metric: str
    old: float | None
    new: float | None
    old_interval: Interval | None = None
    new_interval: Interval | None = None
    test: Comparison | None = None
    """New minus old, on the dialogues that both revisions have with the same text and references."""
    adjusted_p: float | None = None
    """Holm's p-value over all systems and splits; only of the combined score, which alone decides."""
    verdict: Verdict = "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateChange:
    """How often a behaviour check of a member fails, in both revisions."""

    member: str
    check: str
    old: float
    old_n: int
    new: float
    new_n: int
    p_value: float
    """Of Fisher's exact test, which takes the dialogues for different ones and so errs on the side of caution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedChange:
    """A figure of the exported model; ``comparable`` is False if it depends on the machine and that is another one."""

    name: str
    old: float | None
    new: float | None
    unit: str
    comparable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleChange:
    """A dialogue whose summary differs."""

    system: str
    split: str
    fname: str
    dialogue: str
    references: tuple[str, ...]
    old: str
    new: str
    old_score: float
    new_score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that could not be compared, in one sentence, by the section that it belongs to."""

    section: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Everything that differs between two revisions."""

    base: Revision
    head: Revision
    confidence: float
    params: tuple[ParamChange, ...]
    data: tuple[DataChange, ...]
    rows: tuple[RowChange, ...]
    code: tuple[CodeChange, ...]
    stale: tuple[StaleStage, ...]
    outputs: tuple[str, ...]
    """Outputs of stages that have another digest in dvc.lock."""
    metrics: tuple[MetricChange, ...]
    scores: tuple[ScoreChange, ...]
    speed: tuple[SpeedChange, ...]
    behaviour: tuple[RateChange, ...]
    examples: tuple[ExampleChange, ...]
    curves: Mapping[str, tuple[list[tuple[float, float]], list[tuple[float, float]]]]
    """By member: steps and dev scores of its training, before and now, where they differ."""
    notes: tuple[Note, ...]

    @property
    def losses(self) -> tuple[ScoreChange, ...]:
        """The combined scores that are significantly worse."""
        return tuple(change for change in self.scores if change.verdict == "worse")
