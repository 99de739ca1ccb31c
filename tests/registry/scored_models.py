"""Registered versions with scores by dialogue, but without weights, for what only reads the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlflow.entities import Param

from yoyak.data.keys import hash_dialogue
from yoyak.params import Scoring
from yoyak.registry import promotion
from yoyak.registry.evaluations import ModelEvaluation, Scheme, ScoredSummary, attach_evaluations
from yoyak.registry.versions import Version
from yoyak.tracking.client import connect
from yoyak.tracking.stage_run import flatten

SCHEME = Scheme.of(Scoring())


def dialogue(number: int) -> str:
    return f"#Person1#: {number}시에 만날까요?\n#Person2#: 네, 좋아요."


def evaluation(
    scores: Sequence[float], *, split: str = "dev", dataset: str = "d1", scheme: Scheme = SCHEME
) -> ModelEvaluation:
    """An evaluation in which dialogue i has score i, and a summary that says so."""
    rows = tuple(
        ScoredSummary(
            fname=f"{split}-{number}",
            slice="",
            key=hash_dialogue(dialogue(number)),
            summary=f"요약 {score}",
            scores={"rouge1": score, "combined": score},
        )
        for number, score in enumerate(scores)
    )
    return ModelEvaluation(split=split, dataset=dataset, scheme=scheme, rows=rows)


def register(
    name: str = "yoyak",
    *,
    member: str = "bart",
    params: Mapping[str, Any] | None = None,
    evaluations: Sequence[ModelEvaluation] = (),
    scores: Mapping[str, float] | None = None,
    tags: Mapping[str, str] | None = None,
    experiment: str = "",
) -> Version:
    """Register a version with a run; ``scores`` are combined means by split, by default those of ``evaluations``."""
    client = connect()
    existing = client.get_experiment_by_name("tests")
    folder = str(Path("mlruns").absolute())
    experiment_id = existing.experiment_id if existing else client.create_experiment("tests", folder)
    run_id = client.create_run(experiment_id).info.run_id
    client.log_batch(run_id, params=[Param(key, value) for key, value in flatten(params or {}).items()])
    logged = client.create_logged_model(experiment_id, member, run_id)
    attach_evaluations(run_id, logged.model_id, evaluations)
    if scores is None:
        scores = {
            each.split: sum(row.combined for row in each.rows) / len(each.rows) for each in evaluations if each.rows
        }
    return promotion.register_version(
        name,
        model_id=logged.model_id,
        run_id=run_id,
        tags={
            "member": member,
            "architecture": member,
            "variant": "fp32",
            **{f"score.{split}.combined": str(score) for split, score in scores.items()},
            **(tags or {}),
        },
        experiment=experiment,
    )
