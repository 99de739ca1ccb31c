"""All of params.yaml as one typed object."""

from __future__ import annotations

from pydantic import model_validator

from yoyak.errors import nearest
from yoyak.params.any_member import AnyMember
from yoyak.params.augmentation import Augmentation
from yoyak.params.base import Name, Section, Seed
from yoyak.params.behaviour import Behaviour
from yoyak.params.data import Data, Tokenizer
from yoyak.params.deploy import Bench, Export, Gate, Serving
from yoyak.params.ensemble import Auto, Ensemble
from yoyak.params.generation import Generation
from yoyak.params.members import TrainedMember
from yoyak.params.registry import Registry
from yoyak.params.report import Report
from yoyak.params.scoring import Scoring
from yoyak.params.train import Train

HISTORY = "history"
"""No member's name: ``<registry.name>-history`` is the log of the champions."""
RESERVED = ("first", "last", "longest", "longest3", "lead3", "oracle", "best_baseline")
"""Names that the evaluation uses for its baselines."""


class Params(Section):
    """All of params.yaml."""

    seed: Seed = 20
    data: Data = Data()
    augmentation: Augmentation = Augmentation()
    tokenizers: dict[Name, Tokenizer] = {}
    members: dict[Name, AnyMember] = {}
    train: Train = Train()
    generation: Generation = Generation()
    ensemble: Ensemble = Ensemble()
    scoring: Scoring = Scoring()
    behaviour: Behaviour = Behaviour()
    registry: Registry = Registry()
    export: Export = Export()
    bench: Bench = Bench()
    gate: Gate = Gate()
    serving: Serving = Serving()
    report: Report = Report()

    @model_validator(mode="after")
    def _members_are_valid(self) -> Params:
        if not self.members:
            raise ValueError("members is empty: define at least one")
        for name, member in self.members.items():
            if name in RESERVED:
                raise ValueError(f"members.{name}: the name is reserved for a baseline: choose another")
            if name == HISTORY:
                raise ValueError(f"members.{name}: the registry keeps its history under that name: choose another")
            tokenizer = member.tokenizer if isinstance(member, TrainedMember) else None
            if tokenizer is not None and tokenizer not in self.tokenizers:
                hint = nearest(tokenizer, self.tokenizers)
                raise ValueError(f"members.{name}.tokenizer: no tokenizer is named '{tokenizer}'{hint}")
        return self

    @model_validator(mode="after")
    def _strategies_are_valid(self) -> Params:
        for name, strategy in self.ensemble.every.items():
            if name in RESERVED or name in self.members:
                raise ValueError(f"ensemble: '{name}' is the name of a member or a baseline: choose another")
            options = strategy.options if isinstance(strategy, Auto) else {}
            clash = next((option for option in options if option in self.members), None)
            if clash is not None:
                raise ValueError(
                    f"ensemble: {name}.options: '{clash}' is the name of a member, which is an option anyway: choose "
                    "another"
                )
            given = [getattr(each, "weights", None) for each in (strategy, *options.values())]
            weighted = [member for weights in given if isinstance(weights, dict) for member in weights]
            for member in (*(strategy.members or ()), *weighted):
                if member not in self.members:
                    hint = nearest(member, self.members)
                    raise ValueError(f"ensemble: {name} refers to the member '{member}', which does not exist{hint}")
                if self.members[member].sample_size is not None:
                    raise ValueError(
                        f"ensemble: {name} refers to the member '{member}', which summarizes only a sample of each "
                        "split, and an ensemble needs all of its members' summaries: leave one or the other out"
                    )
        registered = self.registry.ensemble
        if registered is not None and registered not in self.ensemble.every:
            hint = nearest(registered, self.ensemble.every)
            raise ValueError(f"registry.ensemble: there is no strategy '{registered}'{hint}")
        return self
