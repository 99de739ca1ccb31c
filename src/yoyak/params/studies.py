"""A file of studies/: what is tried, how, and how often. `yoyak.params.study_files` reads and checks it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from yoyak.params.base import Name, Section, Seed
from yoyak.params.ensemble import KeptTrials

KINDS = {
    **{entry.name: entry.value for entry in entry_points(group="yoyak.studies")},
    "hyperparameter": "yoyak.studies.training:Hyperparameter",
    "model_comparison": "yoyak.studies.comparing:ModelComparison",
    "ablation": "yoyak.studies.comparing:Ablation",
    "generation": "yoyak.studies.generating:GenerationKind",
}
"""Where each kind of study is defined; other packages add theirs as entry points."""

MAX_GRID = 10_000
"""Values of a dimension in a grid: more are never tried, and a list of them would fill the memory."""
KNOWN_AT_THE_END = ("latency", "parameters", "seconds")
"""Measures that a trial has only when it has ended, so that it cannot be pruned by them."""
Scalar = bool | int | float | str | None
Values = dict[str, Any]
"""Values of params.yaml by dotted key."""


class DimensionBase(Section):
    """What all dimensions have in common."""

    when: dict[str, list[Scalar]] = {}
    """The dimension exists only in trials in which these dimensions have one of these values."""


class FloatDimension(DimensionBase):
    """A real number from ``low`` to ``high``."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    """Drawn uniformly in its logarithm."""
    step: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> FloatDimension:
        _check_range(self.low, self.high, self.log, self.step is not None)
        return self

    def grid(self) -> list[Any]:
        """Return its values in a grid; none without a step."""
        if self.step is None:
            return []
        count = _check_count((self.high - self.low) / self.step + 1e-9) + 1
        return [round(self.low + index * self.step, 12) for index in range(count)]

    def corners(self) -> list[Any]:
        """Return the values of which all must be valid where one is."""
        return [self.low, self.high]


class IntDimension(DimensionBase):
    """A whole number from ``low`` to ``high``, both included."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: Annotated[int, Field(gt=0)] = 1

    @model_validator(mode="after")
    def _is_a_range(self) -> IntDimension:
        _check_range(self.low, self.high, self.log, self.step != 1)
        return self

    def grid(self) -> list[Any]:
        """Return its values in a grid."""
        _check_count((self.high - self.low) // self.step)
        return list(range(self.low, self.high + 1, self.step))

    def corners(self) -> list[Any]:
        """Return the values of which all must be valid where one is."""
        return [self.low, self.high]


class CategoricalDimension(DimensionBase):
    """One of several values, in no order."""

    type: Literal["categorical"]
    choices: Annotated[list[Scalar], Field(min_length=1)]

    def grid(self) -> list[Any]:
        """Return its values in a grid."""
        return list(self.choices)

    def corners(self) -> list[Any]:
        """Return the values of which all must be valid where one is."""
        return list(self.choices)


Dimension = Annotated[FloatDimension | IntDimension | CategoricalDimension, Field(discriminator="type")]


class Sampler(Section):
    """How the next trial's values are chosen: a sampler of Optuna."""

    type: Literal["tpe", "gp", "cmaes", "random", "grid", "qmc"] = "tpe"
    startup_trials: Annotated[int, Field(ge=0)] = 10
    """Trials with random values before a model is fitted to them (tpe, gp, cmaes)."""


class Pruner(Section):
    """When a trial that is worse than others ends early: a pruner of Optuna."""

    type: Literal["none", "median", "hyperband", "asha", "wilcoxon"] = "none"
    startup_trials: Annotated[int, Field(ge=0)] = 5
    """Trials that end before any is pruned (median)."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Evaluations, or with wilcoxon dialogues, of a trial before it can be pruned."""
    min_resource: Annotated[int, Field(gt=0)] = 1
    """Evaluations that every trial gets (hyperband, asha)."""
    reduction_factor: Annotated[int, Field(gt=1)] = 3
    """One of so many trials goes on at each rung (hyperband, asha)."""
    p_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Below this p-value a trial is worse than the best one (wilcoxon)."""


class Study(Section):
    """What every study has, of whatever kind."""

    kind: str
    """A name in `KINDS`."""
    objectives: Annotated[dict[str, Literal["maximize", "minimize"]], Field(min_length=1)] = {"combined": "maximize"}
    """Measures of a trial; with several the result is a Pareto front."""
    sampler: Sampler = Sampler()
    pruner: Pruner = Pruner()
    trials: Annotated[int, Field(gt=0)] | None = None
    """Trials that are to end, pruned ones included. Null is all of a grid, else as many as ``minutes`` allow."""
    minutes: Annotated[float, Field(gt=0)] | None = None
    """No trial is begun so many minutes after `yoyak study run` has started."""
    seed: Seed = 20
    """Of the sampler."""
    keep: Annotated[int, Field(ge=0)] = 1
    """The best trials that keep their weights."""
    retries: Annotated[int, Field(ge=0)] = 2
    """How often a trial whose process died is tried again."""

    @model_validator(mode="after")
    def _can_prune(self) -> Study:
        if self.pruner.type == "none":
            return self
        if len(self.objectives) > 1:
            raise ValueError("trials with several objectives cannot be pruned: set pruner.type to none")
        objective = next(iter(self.objectives))
        if objective in KNOWN_AT_THE_END:
            raise ValueError(
                f"trials cannot be pruned by {objective}, which only ended ones have: set pruner.type to none"
            )
        return self


class Searched(Study):
    """A study with dimensions."""

    dimensions: Annotated[dict[str, Dimension], Field(min_length=1)]
    """By dotted key of params.yaml."""

    @model_validator(mode="after")
    def _has_a_budget(self) -> Searched:
        if self.sampler.type != "grid" and self.trials is None and self.minutes is None:
            raise ValueError("set trials or minutes: without them the study would never end")
        return self

    @model_validator(mode="after")
    def _is_a_space(self) -> Searched:
        earlier: dict[str, Any] = {}
        for name, dimension in self.dimensions.items():
            for other, values in dimension.when.items():
                if other not in earlier:
                    raise ValueError(f"dimensions: {name} depends on {other}, which is not a dimension above it")
                if isinstance(earlier[other], CategoricalDimension):
                    wrong = [value for value in values if value not in earlier[other].choices]
                    if wrong:
                        raise ValueError(f"dimensions: {name} depends on {other} being {wrong[0]!r}, which it never is")
            if self.sampler.type == "grid" and not dimension.grid():
                raise ValueError(f"dimensions: {name} needs a step for a grid")
            earlier[name] = dimension
        return self


class HyperparameterStudy(Searched):
    """Trains a member with other values of its params."""

    kind: Literal["hyperparameter"]
    member: Name


class ModelComparisonStudy(Study):
    """Trains several members, each with several seeds."""

    kind: Literal["model_comparison"]
    members: list[Name] = []
    """Members of params.yaml."""
    checkpoints: list[str] = []
    """Names of the catalog: members as `yoyak catalog NAME` prints them."""
    seeds: Annotated[list[Seed], Field(min_length=1)] = [20]
    values: dict[str, Any] = {}
    """Params that all of them share, such as ``num_epochs: 3``."""

    @model_validator(mode="after")
    def _compares(self) -> ModelComparisonStudy:
        names = [*self.members, *self.checkpoints]
        if len(names) < 2 or len(set(names)) < len(names):
            raise ValueError("members and checkpoints must name at least two models, and none twice")
        return self


class AblationStudy(Study):
    """Trains a member without each of its components in turn, each with several seeds."""

    kind: Literal["ablation"]
    member: Name
    components: Annotated[dict[Name, Values], Field(min_length=1)]
    """By name: the values of params.yaml with which the component is off."""
    values: Values = {}
    """Values of params.yaml that all trials have, so that a component can be measured that params.yaml leaves off."""
    seeds: Annotated[list[Seed], Field(min_length=2)] = [20, 21, 22]


class GenerationStudy(Searched):
    """Summarizes dev with other values of generation, or other weights of an ensemble; nothing is trained."""

    kind: Literal["generation"]
    members: Annotated[list[Name], Field(min_length=1)] | KeptTrials | None = None
    """Trained members of models/, or the best trials of a study; null is what ``ensemble.members`` of params.yaml says
    under this study's name."""
    strategy: Name | None = None
    """With several members: how they are combined, a name under ensemble.strategies."""

    @model_validator(mode="after")
    def _combines(self) -> GenerationStudy:
        if self.members is not None:
            check_strategy(self.members, self.strategy)
        return self

    @model_validator(mode="after")
    def _prunes_by_dialogues(self) -> GenerationStudy:
        if self.pruner.type not in ("none", "wilcoxon"):
            raise ValueError(
                f"the pruner {self.pruner.type} compares evaluations of a training, of which there are none: set "
                f"pruner.type to wilcoxon or none"
            )
        if self.pruner.type == "wilcoxon" and self.strategy is not None:
            raise ValueError("trials of several members cannot be pruned: set pruner.type to none")
        return self


def check_strategy(members: list[str] | KeptTrials, strategy: str | None) -> None:
    """Raise ValueError unless there is a strategy where there are several members, and none for a single one."""
    count = members.top_k if isinstance(members, KeptTrials) else len(members)
    if (count > 1) != (strategy is not None):
        raise ValueError("several members need a strategy, and a single one none")


def plain(study: Study) -> Mapping[str, Any]:
    """Return a study as JSON values."""
    return study.model_dump(mode="json")


def _check_count(steps: float) -> int:
    if steps >= MAX_GRID:
        raise ValueError(f"a dimension of a grid has at most {MAX_GRID} values: use a larger step")
    return int(steps)


def _check_range(low: float, high: float, log: bool, stepped: bool) -> None:
    if low > high:
        raise ValueError(f"low is {low:g} and high {high:g}: exchange them")
    if log and low <= 0:
        raise ValueError(f"low is {low:g}, which has no logarithm: use a number above 0")
    if log and stepped:
        raise ValueError("a logarithmic range has no step: remove log or step")
