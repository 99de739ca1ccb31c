"""Studies that train all they compare with every seed: several members, or one without each component in turn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from yoyak.errors import UserError, nearest
from yoyak.params.studies import AblationStudy, ModelComparisonStudy
from yoyak.params.study_files import check_value, set_values
from yoyak.studies.training import Trained

if TYPE_CHECKING:
    import optuna

MAX_SEED = 2**32 - 1
ALL = "all"
"""The trials of an ablation that leave every component on."""


class Repeated(Trained):
    """Every trial of a queue: something that is compared, and a seed."""

    adoptable = False
    compared: ClassVar[str]
    """The name of what is compared."""
    unchangeable = ("members", "checkpoints", "components")
    study: ModelComparisonStudy | AblationStudy

    def names(self) -> list[str]:
        """Return what is compared, the baseline first if there is one."""
        raise NotImplementedError

    def queue(self) -> list[dict[str, Any]]:
        """Return everything that is compared with every seed."""
        return [{self.compared: name, "seed": seed} for seed in self.study.seeds for name in self.names()]

    def suggest(self, trial: optuna.Trial) -> dict[str, Any]:
        """Return the values that were queued."""
        return {
            self.compared: trial.suggest_categorical(self.compared, self.names()),
            # Not one of several choices, which could not be added to.
            "seed": trial.suggest_int("seed", 0, MAX_SEED),
        }

    def base(self) -> Mapping[str, Any]:
        """Return all of params.yaml that training reads."""
        return {**super().base(), **{key: self.tree[key] for key in ("members", "scoring") if key in self.tree}}


class ModelComparison(Repeated):
    """Trials differ in the member."""

    schema = ModelComparisonStudy
    compared = "model"
    study: ModelComparisonStudy

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.keys = {name: name.replace(".", "_") for name in self.names()}
        for name in self.study.checkpoints:
            self.tree = set_values(self.tree, {f"members.{self.keys[name]}": _catalog_member(name)})

    def names(self) -> list[str]:
        """Return the members and the checkpoints."""
        return [*self.study.members, *self.study.checkpoints]

    def check(self) -> None:
        """Refuse members that params.yaml, and checkpoints that the catalog does not have."""
        super().check()
        for name in self.names():
            self.check_member(self.keys[name])
            for key, value in self.study.values.items():
                check_value(self.tree, f"members.{self.keys[name]}.{key}", value, f"{self.folder}.yaml: values")
        self._check_same_measure()

    def _check_same_measure(self) -> None:
        """Refuse models that would be measured in different ways."""
        members = {
            name: self.settings({self.compared: name, "seed": 0}).members[key] for name, key in self.keys.items()
        }
        for key in self.measures_by:
            values = {name: getattr(member, key) for name, member in members.items()}
            if any(value != next(iter(values.values())) for value in values.values()):
                found = ", ".join(f"{name} {value}" for name, value in values.items())
                raise UserError(
                    f"{self.folder}.yaml: the models are compared by {' and '.join(self.study.objectives)}, which "
                    f"{key} decides, and it is not the same for all ({found}): set it in values."
                )

    def member_of(self, values: Mapping[str, Any]) -> str:
        """Return the model of the trial."""
        return self.keys[values[self.compared]]

    def trained(self) -> Sequence[str]:
        """Return all models."""
        return list(self.keys.values())

    def overrides(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values that all models share, and the seed."""
        member = self.member_of(values)
        return {
            **{f"members.{member}.{key}": value for key, value in self.study.values.items()},
            "seed": values["seed"],
        }


class Ablation(Repeated):
    """Trials differ in the component that is off."""

    schema = AblationStudy
    compared = "without"
    study: AblationStudy

    def names(self) -> list[str]:
        """Return the baseline, then the components."""
        return [ALL, *self.study.components]

    def check(self) -> None:
        """Refuse components whose values params.yaml cannot have."""
        super().check()
        self.check_member(self.study.member)
        if ALL in self.study.components:
            raise UserError(f"{self.folder}.yaml: components.{ALL} is the name of the baseline: choose another.")
        sets = {"values": self.study.values, **{f"components.{n}": v for n, v in self.study.components.items()}}
        for name, values in sets.items():
            for key, value in values.items():
                check_value(self.tree, key, value, f"{self.folder}.yaml: {name}")
            if name != "values":
                self.check_measured(self.study.member, name, values)
        baseline = self._apply(self.study.values)
        for name, values in self.study.components.items():
            if self._apply({**self.study.values, **values}) == baseline:
                raise UserError(
                    f"{self.folder}.yaml: components.{name} changes nothing, since every trial has "
                    f"{', '.join(f'{key}: {value}' for key, value in values.items())}: turn the component on in values."
                )
        self.check_data()

    def variations(self) -> Iterable[Mapping[str, Any]]:
        """Return the values of the trials with every component, and of those without one."""
        return [self.study.values, *({**self.study.values, **each} for each in self.study.components.values())]

    def member_of(self, values: Mapping[str, Any]) -> str:
        """Return the study's member."""
        return self.study.member

    def trained(self) -> Sequence[str]:
        """Return the study's member."""
        return [self.study.member]

    def overrides(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the values that turn the component off, and the seed."""
        off = self.study.components.get(values[self.compared], {})
        return {**self.study.values, **off, "seed": values["seed"]}


def _catalog_member(name: str) -> dict[str, Any]:
    """Return a member for a checkpoint of the catalog."""
    from yoyak.models import catalog

    key = catalog.find(name)
    if key is None:
        raise UserError(f"The catalog has no '{name}'{nearest(name, dict(catalog.entries()), 3)}.")
    entry = catalog.find_entry(key)
    training = catalog.recommend(entry, 16.0) if entry else None
    if entry is None or training is None:
        raise UserError(f"{name} does not fit into 16 GB: add a member for it to params.yaml.")
    return {"family": entry.family, "checkpoint": key, **training.model_dump(exclude_none=True)}
