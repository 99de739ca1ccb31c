"""The params that each stage of dvc.yaml reads: one class per stage, whose fields are the stage's ``params:``.

A field is the section of the same name unless it is marked with `At`. A test compares these classes with dvc.yaml.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, TypeVar

from pydantic import BaseModel

from yoyak.params.any_member import AnyMember
from yoyak.params.augmentation import Augmentation
from yoyak.params.base import Granularity, Name, RougeWeights, Section, Seed
from yoyak.params.behaviour import Behaviour, CaseNames
from yoyak.params.data import Data, Tokenizer
from yoyak.params.deploy import Bench, Export, Gate, Serving, ServingBatchSize, Threads
from yoyak.params.ensemble import Ensemble, MinMembers, OfCandidates, OfModels, Processes, Views
from yoyak.params.generation import Generation
from yoyak.params.registry import Registry
from yoyak.params.report import Report
from yoyak.params.scoring import Granularities, MultiReference, Scoring


@dataclass(frozen=True, slots=True)
class At:
    """Annotates a field with its path in params.yaml; ``{key}`` is the member or strategy of the stage."""

    path: str


def paths(schema: type[BaseModel]) -> dict[str, str]:
    """Return the path in params.yaml of each field of a class."""
    return {
        name: next((mark.path for mark in field.metadata if isinstance(mark, At)), name)
        for name, field in schema.model_fields.items()
    }


class PrepareParams(Section):
    """Params of `yoyak prepare`."""

    data: Data
    augmentation: Augmentation
    cases: Annotated[CaseNames, At("behaviour.cases")]
    tokenizers: dict[Name, Tokenizer]


class BaseParams(Section):
    """Params of `yoyak base <member>`."""

    member: Annotated[AnyMember, At("members.{key}")]


class CheckParams(Section):
    """Params of `yoyak check`."""

    members: dict[Name, AnyMember]


class TrainParams(Section):
    """Params of `yoyak train <member>`."""

    member: Annotated[AnyMember, At("members.{key}")]
    granularities: Annotated[Granularities, At("scoring.granularities")]
    multi_reference: Annotated[MultiReference, At("scoring.multi_reference")]
    weights: Annotated[RougeWeights, At("scoring.weights")]
    seed: Seed


class PredictParams(Section):
    """Params of `yoyak predict <member>`."""

    views: Annotated[Views, At("ensemble.tta")]
    generation: Generation
    seed: Seed


class ScoreCandidatesParams(Section):
    """Params of `yoyak score_candidates`."""

    strategies: Annotated[dict[Name, OfCandidates], At("ensemble.strategies")]
    members: dict[Name, AnyMember]


class EnsembleParams(Section):
    """Params of `yoyak ensemble <strategy>`."""

    granularity: Annotated[Granularity, At("ensemble.granularity")]
    min_members: Annotated[MinMembers, At("ensemble.min_members")]
    processes: Annotated[Processes, At("ensemble.processes")]
    strategy: Annotated[OfCandidates, At("ensemble.strategies.{key}")]
    members: dict[Name, AnyMember]
    seed: Seed


class BlendParams(Section):
    """Params of `yoyak blend <strategy>`."""

    granularity: Annotated[Granularity, At("ensemble.granularity")]
    min_members: Annotated[MinMembers, At("ensemble.min_members")]
    strategy: Annotated[OfModels, At("ensemble.models.{key}")]
    generation: Generation


class EvaluateParams(Section):
    """Params of `yoyak evaluate`."""

    ensemble: Ensemble
    members: dict[Name, AnyMember]
    scoring: Scoring
    seed: Seed


class BehaviourParams(Section):
    """Params of `yoyak behaviour`."""

    behaviour: Behaviour
    members: dict[Name, AnyMember]


class RegisterParams(Section):
    """Params of `yoyak register`."""

    ensemble: Ensemble
    generation: Generation
    members: dict[Name, AnyMember]
    registry: Registry
    scoring: Scoring
    seed: Seed

    def training(self, member: str) -> TrainParams:
        """Return the params that a member was trained with."""
        return TrainParams(
            member=self.members[member],
            granularities=self.scoring.granularities,
            multi_reference=self.scoring.multi_reference,
            weights=self.scoring.weights,
            seed=self.seed,
        )


class ReportParams(Section):
    """Params of `yoyak report`: everything that the pipeline reads, since the report lists it."""

    seed: Seed
    data: Data
    augmentation: Augmentation
    tokenizers: dict[Name, Tokenizer]
    members: dict[Name, AnyMember]
    generation: Generation
    ensemble: Ensemble
    scoring: Scoring
    behaviour: Behaviour
    registry: Registry
    report: Report


class ExportParams(Section):
    """Params of `yoyak export`."""

    export: Export


class BenchParams(Section):
    """Params of `yoyak bench`."""

    bench: Bench
    gate: Gate
    generation: Generation
    scoring: Scoring
    seed: Seed
    serving_batch_size: Annotated[ServingBatchSize, At("serving.batch_size")]
    serving_threads: Annotated[Threads, At("serving.threads")]


class ReleaseParams(Section):
    """Params of `yoyak release`."""

    generation: Generation
    registry_name: Annotated[Name, At("registry.name")]
    serving: Serving


OfEnsembles = TypeVar("OfEnsembles", EvaluateParams, RegisterParams, ReportParams)


def without_failed(settings: OfEnsembles, failed: Collection[str]) -> OfEnsembles:
    """Return the params of what is left if these members and strategies have no summaries."""
    members = {name: member for name, member in settings.members.items() if name not in failed}
    return settings.model_copy(update={"members": members, "ensemble": settings.ensemble.without(failed)})
