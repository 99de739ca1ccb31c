"""Registering what a pipeline produced: each member's training, the best of them, and the ensemble.

Which member is best is what this commit's evaluation says, never what the tracking store happens to hold.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

from yoyak import project
from yoyak.behaviour.results import CHECKS
from yoyak.errors import UserError, nearest
from yoyak.params import Registry
from yoyak.params.stages import RegisterParams
from yoyak.project import GATE
from yoyak.registration.challenge import challenge
from yoyak.registration.descriptions import describe, describe_pipeline
from yoyak.registration.ensemble import register_ensemble
from yoyak.registration.evaluations import PipelineEvaluation
from yoyak.registration.packaging import with_generation
from yoyak.registration.record import record_origins, record_promotion, record_version, record_versions
from yoyak.registration.trainings import RegisteredTraining, register_training
from yoyak.registry import history, promotion
from yoyak.registry.versions import CHAMPION, Version
from yoyak.scoring.results import EvaluationSummary, read_evaluation
from yoyak.tracking import lineage
from yoyak.tracking.client import connect
from yoyak.tracking.decisions import Verdict
from yoyak.tracking.registered import Registered, write_registered
from yoyak.tracking.uri import redact_credentials, tracking_uri


def register(params: RegisterParams, fingerprint: str) -> Registered:
    """Register every member, the best one and the ensemble; write registry/registered.json and return its content.

    A training that the tracking store does not know, because DVC took its outputs from the cache, gets its run
    rebuilt. Doing it twice changes nothing. ``fingerprint`` is left as a tag on the best version once all is done.
    """
    name = params.registry.name
    _check_bounds(params.registry)
    summary, pipeline = read_evaluation(project.EVALUATION), PipelineEvaluation.read(params.scoring)
    experiment = lineage.experiment_name()

    members: dict[str, RegisteredTraining] = {}
    verdict: Verdict | None = None
    for member in params.members:
        training = register_training(
            f"{name}-{member}",
            member,
            params.training(member),
            generation=params.generation,
            scores=_scores(summary, member),
            pipeline=pipeline,
            experiment=experiment,
        )
        version, _ = _settle(training, training.version, params, pipeline, experiment)
        members[member] = replace(training, version=version)

    best = members[summary.best_member]
    best_version = promotion.register_version(
        name,
        model_id=best.version.model_id,
        run_id=best.version.run_id,
        tags=_copied_tags(best.version),
        experiment=best.version.tags.get(promotion.EXPERIMENT, ""),
    )
    champion = promotion.champion(name)
    best_version, verdict = _settle(best, best_version, params, pipeline, experiment)

    entries = [record_version(training.version, member, training.restored) for member, training in members.items()]
    entries.append(record_version(best_version, best.member, best.restored))
    if params.registry.ensemble is not None:
        ensemble_version = register_ensemble(
            name,
            params.registry.ensemble,
            params.ensemble.every[params.registry.ensemble],
            generation=params.generation,
            members={member: training.version for member, training in members.items()},
            scores=_scores(summary, params.registry.ensemble),
            example=pipeline.example,
            trained_on=pipeline.trained_on,
            experiment=experiment,
        )
        entries.append(record_version(ensemble_version, params.registry.ensemble, restored=False))

    registered = Registered(
        registered=tuple(entries),
        decision=_describe_decision(best_version, best.member, verdict, experiment),
        tracking_uri=redact_credentials(tracking_uri()),
        fingerprint=fingerprint,
        commit=lineage.git().commit,
        origins=record_origins(best_version, best.member),
        versions=record_versions(),
        promotion=record_promotion(
            best_version, best.member, champion=champion, verdict=verdict, experiment=experiment
        ),
    )
    describe(registered, summary, params)
    describe_pipeline(registered, summary)
    promotion.tag_fingerprint(best_version, fingerprint)
    write_registered(registered)
    return registered


def _scores(summary: EvaluationSummary, system: str) -> dict[str, dict[str, float]]:
    """Return a system's means by split and metric; not those on gate, by which nobody should search or sort."""
    return {split: means for split, means in summary.primary_means(system).items() if split != GATE}


def _check_bounds(rules: Registry) -> None:
    for check in rules.max_behaviour:
        if check not in CHECKS:
            raise UserError(f"registry.max_behaviour: '{check}' is not a behaviour check{nearest(check, CHECKS)}.")


def _settle(
    training: RegisteredTraining,
    version: Version,
    params: RegisterParams,
    pipeline: PipelineEvaluation,
    experiment: str,
) -> tuple[Version, Verdict | None]:
    """Compare a version of a member's model with the champion and give it the alias that it has earned."""
    client = connect()
    seen = history.last_number(history.read_log(client, version.name))
    champion = promotion.champion(version.name)
    verdict = None
    if champion is not None and champion.version != version.version:
        files = project.model_folder(training.member)
        # Speed is that of the registered generation settings; those in the folder are from the training.
        timed = params.registry.max_seconds is not None
        with with_generation(files, params.generation) if timed else nullcontext(files) as folder:
            verdict = challenge(
                version,
                champion,
                pipeline.splits.get(GATE, ()),
                next((evaluation for evaluation in training.evaluations if evaluation.split == GATE), None),
                rules=params.registry,
                seed=params.seed,
                folder=folder,
                behaviour=training.behaviour,
            )
    return promotion.settle_candidate(version, verdict, experiment=experiment, seen=seen), verdict


def _copied_tags(version: Version) -> dict[str, str]:
    """Return the tags that the same model has under another name, without those about aliases and the gate."""
    own = ("alias.", "champion.", "gate.", "mlflow.", promotion.EXPERIMENT)
    return {key: value for key, value in version.tags.items() if not key.startswith(own)}


def _describe_decision(version: Version, member: str, verdict: Verdict | None, experiment: str) -> str:
    """Return what became of the best model, and why, in one sentence."""
    title = f"{version.name} version {version.version} ({member})"
    if CHAMPION in version.aliases:
        return f"{title} is the new champion: {verdict.sentence}." if verdict else f"{title} is champion."
    aliases = " and ".join(sorted(version.aliases)) or "registered"
    reasons = []
    if experiment:
        reasons.append(f"it comes from {experiment}, and only a commit's models are promoted")
    if verdict and verdict.passed and promotion.is_undone(version):
        reasons.append("its promotion was rolled back")
    if verdict:
        reasons.append(verdict.sentence)
    return f"{title} is {aliases}: {'; '.join(reasons)}." if reasons else f"{title} is {aliases}."
