"""Registering one member: find or restore its training run, log its model, and add a version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from yoyak import project
from yoyak.params import Generation, dump
from yoyak.params.stages import TrainParams
from yoyak.registration.dev import DevSet
from yoyak.registration.packaging import log_member, with_generation
from yoyak.registry import promotion
from yoyak.registry.versions import Version
from yoyak.tracking import lineage, restore, runs
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.stage_run import MODEL, flatten

MODEL_MD5 = "yoyak.model_md5"
"""Tag of a training's run: the md5 of the model that was logged with it, weights and generation settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredTraining:
    """A member's version in the registry."""

    member: str
    version: Version
    restored: bool
    """Whether the run was rebuilt, because the tracking store had lost it."""


def register_training(
    name: str,
    member: str,
    params: TrainParams,
    *,
    generation: Generation,
    scores: Mapping[str, Mapping[str, float]],
    dev: DevSet,
) -> RegisteredTraining:
    """Return the version of the registered model ``name`` for this training; created if needed.

    ``scores`` are the member's means by split and metric, kept as tags.
    """
    folder = project.model_folder(member)
    training = _find_or_restore_run(member, params)
    model_id = _find_or_log_model(training, folder, generation, dev.example)
    predictions = project.predictions_folder(member) / "dev.jsonl"
    runs.attach_predictions(training.run_id, predictions, dev.md5, model_id=model_id)
    version = promotion.register_member(
        name,
        model_id=model_id,
        run_id=training.run_id,
        tags={
            "git.commit": lineage.git().commit,
            "dvc.models_md5": lineage.digest(folder),
            "member": member,
            **flatten({"score": scores}),
            **runs.input_tags(lineage.digests([project.PREPARED])),
        },
    )
    return RegisteredTraining(member=member, version=version, restored=training.restored)


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


def _find_or_log_model(training: restore.TrainingRun, folder: Path, generation: Generation, example: str) -> str:
    """Return the id of the model with these weights and generation settings; logged if the run does not have it."""
    client = connect()
    md5 = hashlib.md5((lineage.digest(folder) + generation.model_dump_json()).encode()).hexdigest()
    with translate_mlflow_errors():
        tags = client.get_run(training.run_id).data.tags
    if tags.get(MODEL_MD5) == md5 and restore.has_files(client, tags.get(MODEL, "")):
        return str(tags[MODEL])
    run = runs.open_run(training.run_id)
    with with_generation(folder, generation) as view:
        model_id = log_member(run, view, example=example)
    run.set_tags({MODEL_MD5: md5})
    return model_id
