"""Registering the model of a study's best trial, as challenger at most: what a study chose has passed no gate."""

from __future__ import annotations

from yoyak import project
from yoyak.errors import UserError
from yoyak.files import read_result
from yoyak.models.spec import load_spec, read_architecture
from yoyak.params import Params
from yoyak.registration.bundle import EXAMPLE
from yoyak.registration.packaging import log_member, with_generation
from yoyak.registry import promotion
from yoyak.registry.evaluations import attach_evaluations
from yoyak.registry.lineage_record import file_tags
from yoyak.registry.versions import Version
from yoyak.studies import files
from yoyak.studies.mirror import find_trial_run
from yoyak.studies.outcome import Summary
from yoyak.studies.training import MODEL, TRAINED_ON
from yoyak.tracking import lineage

DIGEST = "study.model_md5"
"""Tag of a version: the digest of the trial's model."""


def register_best(name: str, params: Params) -> Version:
    """Return the version of ``<registry.name>-<member>`` that is the model of a study's best trial; made if needed.

    Raises UserError if the study has not been run, has no best trial, or its model is not on this machine.
    """
    folder = project.STUDIES / name
    summary = read_result(folder / files.SUMMARY, Summary, command=f"yoyak study run {name}")
    best = summary.best
    if best is None:
        raise UserError(f"studies/{name} has no single best trial, so there is nothing to register.")
    model = folder / files.TRIALS / str(best.folder) / MODEL
    if not model.is_dir():
        raise UserError(
            f"{model} is missing: the study {name} has trained no models, or was run on another machine, or keep is 0."
        )
    digest, member = lineage.digest(model), load_spec(model).member
    registered = f"{params.registry.name}-{member}"
    existing = promotion.find_usable(registered, DIGEST, digest)
    if existing is not None:
        return existing
    experiment = f"the study {name}"
    run = find_trial_run(name, summary.run_id, best.number)
    with with_generation(model, params.generation) as files_of_model:
        model_id = log_member(run, files_of_model, example=EXAMPLE)
        tags = {
            DIGEST: digest,
            "source": "study",
            "study": name,
            "study.trial": str(best.number),
            "member": member,
            "architecture": read_architecture(files_of_model),
            **({promotion.DEV_SCORE: f"{best.dev.mean:.6f}"} if best.dev else {}),
            **file_tags(files_of_model),
        }
        version = promotion.register_version(
            registered, model_id=model_id, run_id=run.run_id, tags=tags, experiment=experiment
        )
    keys = model.with_name(TRAINED_ON)
    if keys.is_file():
        attach_evaluations(run.run_id, model_id, (), keys.read_text(encoding="utf-8").split())
    return promotion.settle_candidate(version, None, experiment=experiment, seen=0)
