"""Registering what a pipeline produced: each member's training, the best of them, and the ensemble.

Which member is best is what this commit's evaluation says, never what the tracking store happens to hold.
"""

from __future__ import annotations

from yoyak import project
from yoyak.params.stages import RegisterParams
from yoyak.registration.challenge import challenge_champion
from yoyak.registration.dev import read_dev
from yoyak.registration.ensemble import register_ensemble
from yoyak.registration.trainings import RegisteredTraining, register_training
from yoyak.registry import promotion
from yoyak.registry.promotion import GateResult
from yoyak.registry.versions import CHAMPION, Version
from yoyak.scoring.results import EvaluationSummary, read_evaluation
from yoyak.tracking import lineage
from yoyak.tracking.client import redact_credentials
from yoyak.tracking.registered import Registered, RegisteredModel, write_registered
from yoyak.tracking.uri import tracking_uri


def register(params: RegisterParams, fingerprint: str) -> Registered:
    """Register every member, the best one and the ensemble; write registry/registered.json and return its content.

    A training that the tracking store does not know, because DVC took its outputs from the cache, gets its run
    rebuilt. Doing it twice changes nothing. ``fingerprint`` is left as a tag on the best version once all is done.
    """
    name = params.registry.name
    summary, dev = read_evaluation(project.EVALUATION), read_dev()

    members: dict[str, RegisteredTraining] = {}
    for member in params.members:
        members[member] = register_training(
            f"{name}-{member}",
            member,
            params.training(member),
            generation=params.generation,
            scores=summary.primary_means(member),
            dev=dev,
        )

    best = members[summary.best_member]
    gate = challenge_champion(
        name, best, dev, scoring=params.scoring, significance=params.registry.significance, seed=params.seed
    )
    best_version = _register_best(name, best, summary, gate)

    entries = [_entry(training.version, member, training.restored) for member, training in members.items()]
    entries.append(_entry(best_version, best.member, best.restored))
    if params.registry.ensemble is not None:
        ensemble_version = register_ensemble(
            name,
            params.registry.ensemble,
            params.ensemble.every[params.registry.ensemble],
            generation=params.generation,
            members={member: training.version for member, training in members.items()},
            scores=summary.primary_means(params.registry.ensemble),
            example=dev.example,
        )
        entries.append(_entry(ensemble_version, params.registry.ensemble, restored=False))

    promotion.tag_fingerprint(best_version, fingerprint)
    registered = Registered(
        registered=tuple(entries),
        decision=_describe_decision(best_version, best.member, gate),
        tracking_uri=redact_credentials(tracking_uri()),
        fingerprint=fingerprint,
    )
    write_registered(registered)
    return registered


def _register_best(name: str, best: RegisteredTraining, summary: EvaluationSummary, gate: GateResult | None) -> Version:
    return promotion.register_best(
        name,
        member=best.member,
        model_id=best.version.model_id,
        run_id=best.version.run_id,
        scores=summary.primary_means(best.member),
        tags={
            "git.commit": lineage.git().commit,
            "dvc.models_md5": lineage.digest(project.model_folder(best.member)),
        },
        gate=gate,
    )


def _entry(version: Version, member: str, restored: bool) -> RegisteredModel:
    return RegisteredModel(
        name=version.name,
        version=version.version,
        aliases=tuple(sorted(version.aliases)),
        run_id=version.run_id,
        member=member,
        restored=restored,
    )


def _describe_decision(version: Version, member: str, gate: GateResult | None) -> str:
    """Return what became of the best model, and why, in one sentence."""
    title = f"{version.name} version {version.version} ({member})"
    if gate is None:
        return f"{title} is {' and '.join(sorted(version.aliases)) or 'registered'}."
    gain = (
        f"dev gain over the champion {gate.difference:+.4f} [{gate.low:+.4f}, {gate.high:+.4f}], p = {gate.p_value:.4f}"
    )
    if CHAMPION in version.aliases:
        return f"{title} is the new champion: {gain}."
    return f"{title} is challenger: {gain}, and p below {gate.significance} is required."
