"""Asking the gate about a version that a person wants to promote."""

from __future__ import annotations

from pathlib import Path

from yoyak import params, project
from yoyak.data.records import read_jsonl
from yoyak.params import Params
from yoyak.project import GATE
from yoyak.registration.challenge import challenge, evaluate_on_gate
from yoyak.registry import promotion
from yoyak.registry.evaluations import Scheme
from yoyak.registry.resolve import resolve_model
from yoyak.registry.versions import get_version
from yoyak.tracking import lineage
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.decisions import Verdict

BEHAVIOUR = "behaviour."
"""Of the tags of a version with the failure rate of each behaviour check."""


def judge(name: str, number: int, *, allow_experiment: bool = False) -> Verdict | None:
    """Return what the gate says of a version, given the champion of its registered model; None if there is none.

    The dialogues are those of this project's gate split. Raises UserError, before anything is compared, if the version
    may not be promoted whatever the gate says.
    """
    settings = params.load(Params)
    client = connect()
    with translate_mlflow_errors():
        version = get_version(client, name, number)
    promotion.check_candidate(version, allow_experiment=allow_experiment)
    champion = promotion.champion(name)
    if champion is None:
        return None
    path = project.eval_splits().get(GATE)
    dialogues = read_jsonl(path) if path is not None else []
    # Only the limits of size and speed need the files, which may have to be downloaded.
    limited = settings.registry.max_size_mb is not None or settings.registry.max_seconds is not None
    folder = resolve_model(version.uri) if limited else Path()
    return challenge(
        version,
        champion,
        dialogues,
        evaluate_on_gate(version, dialogues, lineage.digest(path), Scheme.of(settings.scoring)) if path else None,
        rules=settings.registry,
        seed=settings.seed,
        folder=folder,
        behaviour={
            key.removeprefix(BEHAVIOUR): float(rate) for key, rate in version.tags.items() if key.startswith(BEHAVIOUR)
        },
    )
