"""Registering what a pipeline made: each member's training, and the best of them against the champion.

Which member is best is what this commit's evaluation says, never what the tracking store happens to hold.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from yoyak import project
from yoyak.data.records import Dialogue, read_jsonl
from yoyak.files import write_json
from yoyak.params import Generation, Registry, Scoring, dump
from yoyak.params.stages import RegisterParams
from yoyak.registration.ensemble import register_ensemble
from yoyak.registration.packaging import log_member, writing
from yoyak.registry import promotion
from yoyak.registry.promotion import GateResult, Version
from yoyak.registry.resolve import resolve_model
from yoyak.scoring.results import EvaluationSummary, read_evaluation
from yoyak.tracking import lineage, restore, runs
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.stage_run import MODEL
from yoyak.tracking.uri import tracking_uri

MODEL_MD5 = "yoyak.model_md5"


def register(p: RegisterParams, mark: str) -> dict[str, Any]:
    """Register every member and the best one, and return what registry/registered.json holds.

    A training that the tracking store does not know, because DVC took its outputs from the cache, gets its run
    rebuilt. Doing it twice changes nothing. ``mark`` is left as a tag on the best version once all is done.
    """
    summary = read_evaluation(project.EVALUATION)
    dev = read_jsonl(project.DEV_SPLIT)
    dev_md5 = lineage.digest(project.DEV_SPLIT)
    git = lineage.git()
    versions: dict[str, Version] = {}
    rows = []
    for member in p.members:
        training = _training(member, p)
        model_id = _model(training, project.model_folder(member), p.generation, dev[0].dialogue)
        dev_predictions = project.predictions_folder(member) / "dev.jsonl"
        runs.attach_predictions(training.run_id, dev_predictions, dev_md5, model_id=model_id)
        tags = {
            "git.commit": git.commit,
            "dvc.models_md5": lineage.digest(project.model_folder(member)),
            **{f"score.{key}": str(value) for key, value in _scores(summary, member).items()},
            **runs.input_tags({project.PREPARED.as_posix(): lineage.digest(project.PREPARED)}),
        }
        versions[member] = promotion.register_member(
            f"{p.registry.name}-{member}", model_id=model_id, run_id=training.run_id, tags={**tags, "member": member}
        )
        rows.append(_row(versions[member], member, training.restored))
    best = summary.best_member
    found = versions[best]
    gate = _gate(found, best, dev, dev_md5, p.registry, p.scoring, p.seed)
    version = promotion.register_best(
        p.registry.name,
        member=best,
        model_id=found.model_id,
        run_id=found.run_id,
        scores=_scores(summary, best),
        tags={"git.commit": git.commit, "dvc.models_md5": lineage.digest(project.model_folder(best))},
        gate=gate,
    )
    rows.append(_row(version, best, rows[list(p.members).index(best)]["restored"]))
    if p.registry.ensemble is not None:
        ensemble = register_ensemble(p, versions, _scores(summary, p.registry.ensemble), dev[0].dialogue)
        rows.append(_row(ensemble, p.registry.ensemble, False))
    promotion.mark(version, mark)
    value = {
        "registered": rows,
        "decision": _decision(version, best, gate),
        "tracking_uri": _shown_uri(),
        "fingerprint": mark,
    }
    write_json(project.REGISTERED, value)
    return value


def _training(member: str, p: RegisterParams) -> restore.TrainingRun:
    receipt = lineage.read_receipt(project.receipt_file(member))
    known = restore.find_training(receipt)
    if known is not None:
        return known
    metrics = json.loads(project.training_file(member).read_text(encoding="utf-8"))
    params = dump(p.training(member), member)
    curves = project.training_curves_file(member)
    with restore.restore_run(receipt, params=params, metrics=metrics, curves=curves) as run:
        return restore.TrainingRun(run_id=run.run_id, restored=True)


def _model(training: restore.TrainingRun, folder: Path, generation: Generation, example: str) -> str:
    """Return the id of the model that is this training with this way of writing; logged if it is not yet."""
    client = connect()
    md5 = hashlib.md5((lineage.digest(folder) + generation.model_dump_json()).encode()).hexdigest()
    with translate_mlflow_errors():
        run = client.get_run(training.run_id)
    if run.data.tags.get(MODEL_MD5) == md5 and restore.has_files(client, run.data.tags.get(MODEL, "")):
        return run.data.tags[MODEL]
    stage = runs.open_run(training.run_id)
    with writing(folder, generation) as packed:
        model_id = log_member(stage, packed, example=example)
    stage.set_tags({MODEL_MD5: md5})
    return model_id


def _gate(
    found: Version,
    best: str,
    dev: Sequence[Dialogue],
    dev_md5: str,
    settings: Registry,
    scoring: Scoring,
    seed: int,
) -> GateResult | None:
    """Compare the best member with the champion on the dev set; None where there is none, or it is the same model."""
    champion = promotion.champion(settings.name)
    if champion is None or champion.model_id == found.model_id:
        return None
    texts = promotion.champion_predictions(champion, dev_md5)
    if texts is None:
        # It was evaluated on another dev set: let it write summaries of this one.
        from yoyak.decoding.torch import TorchSummarizer

        summarizer = TorchSummarizer.load(resolve_model(champion.uri))
        summaries = summarizer.summarize([row.dialogue for row in dev], progress=True)
        texts = dict(zip((row.fname for row in dev), summaries.texts, strict=True))
    return promotion.gate(
        _dev_scores(best, dev),
        _score([texts[row.fname] for row in dev], dev, scoring),
        significance=settings.significance,
        samples=scoring.bootstrap_samples,
        seed=seed,
    )


def _dev_scores(member: str, dev: Sequence[Dialogue]) -> np.ndarray:
    """Return the member's primary score of each dev dialogue, as evaluate wrote them."""
    with (project.EVALUATION / "dialogues.csv").open(encoding="utf-8", newline="") as file:
        found = {
            row["fname"]: float(row["combined"])
            for row in csv.DictReader(file)
            if row["split"] == "dev" and row["system"] == member
        }
    return np.array([found[row.fname] for row in dev])


def _score(texts: Sequence[str], dev: Sequence[Dialogue], scoring: Scoring) -> np.ndarray:
    from yoyak.scoring.rouge import rouge

    return rouge(
        texts,
        [row.summaries for row in dev],
        granularity=scoring.granularities[0],
        multi_reference=scoring.multi_reference,
        weights=scoring.weights,
    )["combined"]


def _scores(summary: EvaluationSummary, system: str) -> dict[str, float]:
    """Return a system's primary scores by split, as tags of its version."""
    return {
        f"{split}.{metric}": mean
        for split, metrics in summary.primary_means(system).items()
        for metric, mean in metrics.items()
    }


def _row(version: Version, member: str, restored: bool) -> dict[str, Any]:
    return {
        "name": version.name,
        "version": version.version,
        "aliases": sorted(version.aliases),
        "run_id": version.run_id,
        "member": member,
        "restored": restored,
    }


def _decision(version: Version, member: str, gate: GateResult | None) -> str:
    title = f"{version.name} version {version.version} ({member})"
    if gate is None:
        return f"{title} is {' and '.join(sorted(version.aliases)) or 'registered'}."
    figures = (
        f"dev gain over the champion {gate.difference:+.4f} [{gate.low:+.4f}, {gate.high:+.4f}], p = {gate.p_value:.4f}"
    )
    if promotion.CHAMPION in version.aliases:
        return f"{title} is the new champion: {figures}."
    return f"{title} is challenger: {figures}, where p under {gate.significance} is needed."


def _shown_uri() -> str:
    from yoyak.tracking.client import redact_credentials

    return redact_credentials(tracking_uri())
