"""What a kind of study has to say: what its trials do, what they read, and which values they try.

Another package adds a kind as an entry point of the group ``yoyak.studies``, which names a subclass of `Kind`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar

from yoyak.errors import UserError, nearest
from yoyak.params.studies import KINDS, Searched, Study
from yoyak.studies import space

if TYPE_CHECKING:
    import optuna


class StoppedError(Exception):
    """The study was interrupted; the trial goes on from its checkpoint when the study is run again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningTrial:
    """What a trial is given."""

    number: int
    folder: Path
    """Of its own. A trial that is tried again finds what the earlier attempt left there."""
    report: Callable[[int, float], None]
    """Takes a step and the objective so far; raises Optuna's TrialPruned if the trial is not worth going on."""
    log: Callable[[int, Mapping[str, float]], None]
    """Takes a step and metrics for MLflow."""
    should_stop: Callable[[], bool]
    """Whether to raise `StoppedError` at the next opportunity."""
    note: Callable[[str, Any], None]
    """Keeps a JSON value with the trial."""


class Kind(ABC):
    """A kind of study, opened with one study of it. Importing its module must be quick: workers import the rest."""

    schema: ClassVar[type[Study]]
    """The class of its file."""
    measures: ClassVar[tuple[str, ...]] = ("combined",)
    """What `run` may return, and objectives may name."""
    adoptable: ClassVar[bool] = True
    """Whether the values of the best trial are values of params.yaml."""

    unchangeable: ClassVar[tuple[str, ...]] = ()
    """Keys of the file, besides choices, whose change Optuna cannot follow within a study."""

    def __init__(self, study: Study, tree: Mapping[str, Any], folder: Path) -> None:
        self.study = study
        self.tree = tree
        """Of params.yaml, with the environment's overrides."""
        self.folder = folder
        """studies/<name>/."""

    def check(self) -> None:
        """Raise UserError for what can be known to fail before any trial runs."""
        for objective in self.study.objectives:
            if objective not in self.measures:
                raise UserError(
                    f"{self.folder}.yaml: objectives has no '{objective}'{nearest(objective, self.measures)}."
                )

    @abstractmethod
    def inputs(self) -> Sequence[Path]:
        """Return the files and folders that decide what a trial gives."""

    def code(self) -> str:
        """Return a digest of the code that decides what a trial gives."""
        return ""

    def checkpoints(self) -> Mapping[str, str]:
        """Return the digest or commit of each checkpoint that trials start from, by its name."""
        return {}

    def base(self) -> Mapping[str, Any]:
        """Return the values of params.yaml that decide what a trial gives and are not tried themselves."""
        return {}

    def queue(self) -> list[dict[str, Any]] | None:
        """Return the values of every trial; None if a sampler chooses them."""
        if isinstance(self.study, Searched) and self.study.sampler.type == "grid":
            return space.combinations(self.study.dimensions)
        return None

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Return the values of a trial."""
        assert isinstance(self.study, Searched)
        return space.suggest(trial, self.study.dimensions)

    def adopted(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of params.yaml that a trial had."""
        return dict(values)

    def warning(self) -> str:
        """Return a sentence about what was chosen on dev before this study, if anything was."""
        return ""

    def open(self) -> None:  # noqa: B027 - a kind may have nothing to load.
        """Import and load once what all trials of a worker share."""

    @abstractmethod
    def run(self, trial: RunningTrial, values: Mapping[str, Any]) -> Mapping[str, float]:
        """Do what a trial does and return its measures."""

    def score(self, folder: Path, values: Mapping[str, Any]) -> Mapping[str, Sequence[float]]:
        """Return a score for each dialogue of dev and gate for a finished trial; empty where there is no such thing."""
        return {}


def open_kind(study: Study, tree: Mapping[str, Any], folder: Path) -> Kind:
    """Return the kind of a study, opened with it."""
    kind: Kind = resolve_name(KINDS[study.kind])(study, tree, folder)
    return kind
