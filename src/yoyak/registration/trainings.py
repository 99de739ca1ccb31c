"""Registering one member: find or restore its training run, log its model, and add a version."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoyak import project
from yoyak.behaviour.results import read_behaviour
from yoyak.models.families import get_family
from yoyak.models.spec import load_spec, read_architecture
from yoyak.params import Generation, dump
from yoyak.params.stages import TrainParams
from yoyak.registration.evaluations import PipelineEvaluation
from yoyak.registration.packaging import log_member, model_identity, with_generation
from yoyak.registry import promotion
from yoyak.registry.evaluations import ModelEvaluation, attach_evaluations
from yoyak.registry.lineage_record import is_recorded, version_tags
from yoyak.registry.versions import Version
from yoyak.tracking import lineage, restore, runs
from yoyak.tracking.stage_run import flatten


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredTraining:
    """A member's version in the registry."""

    member: str
    version: Version
    evaluations: Sequence[ModelEvaluation]
    behaviour: Mapping[str, float]
    """Failure rate by behaviour check."""

    @property
    def restored(self) -> bool:
        """Whether the run was rebuilt, because the tracking store had lost it."""
        return restore.RESTORED in self.version.tags


def register_training(
    name: str,
    member: str,
    params: TrainParams,
    *,
    generation: Generation,
    scores: Mapping[str, Mapping[str, float]],
    pipeline: PipelineEvaluation,
    experiment: str,
) -> RegisteredTraining:
    """Return the version of the registered model ``name`` for this training, without an alias; created if needed.

    The version with the same weights, generation settings and serving code is the same one, whatever was registered in
    between. ``scores`` are the member's means by split and metric, kept as tags. ``experiment`` says where it comes
    from, if that is not a commit.
    """
    folder = project.model_folder(member)
    spec = load_spec(folder)
    weights = lineage.digest(folder)
    identity = model_identity(weights, generation)
    existing = promotion.find_usable(name, promotion.IDENTITY, identity)
    origin: dict[str, str] = {}
    if existing is not None:
        model_id, run_id = existing.model_id, existing.run_id
    else:
        training = _find_or_restore_run(member, params)
        run_id, origin = training.run_id, {restore.RESTORED: "true"} if training.restored else {}
        with with_generation(folder, generation) as view:
            model_id = log_member(runs.open_run(run_id), view, example=pipeline.example)
    evaluations = pipeline.of_member(member)
    if restore.is_active(run_id):
        attach_evaluations(run_id, model_id, evaluations, pipeline.trained_on)
    results = project.behaviour_file(member)
    rates = read_behaviour(results).rates if results.is_file() else {}
    behaviour = {check: rate.rate for check, rate in rates.items()}
    version = promotion.register_version(
        name,
        model_id=model_id,
        run_id=run_id,
        tags={
            **origin,
            promotion.IDENTITY: identity,
            "dvc.models_md5": weights,
            "member": member,
            "architecture": read_architecture(folder),
            "variant": "fp32",
            **get_family(spec.family).version_tags(spec),
            **flatten({"score": scores, "behaviour": behaviour}),
            **({} if is_recorded(existing) else version_tags(run_id, folder, member=member)),
            **runs.input_tags(lineage.digests([project.PREPARED])),
        },
        experiment=experiment,
    )
    return RegisteredTraining(member=member, version=version, evaluations=evaluations, behaviour=behaviour)


def _find_or_restore_run(member: str, params: TrainParams) -> restore.TrainingRun:
    """Return the run of the training that wrote the member's receipt; rebuilt if the tracking store has lost it."""
    receipt = lineage.read_receipt(project.receipt_file(member))
    training = restore.find_training_run(receipt)
    if training is not None:
        return training
    metrics = json.loads(project.training_file(member).read_text(encoding="utf-8"))
    curves = project.training_curves_file(member)
    with restore.restore_run(receipt, params=dump(params, member), metrics=metrics, curves=curves) as run:
        return restore.TrainingRun(run_id=run.run_id, restored=True)
