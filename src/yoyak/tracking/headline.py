"""What MLflow's list of runs shows of a pipeline without unfolding it: metrics, data and best model of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from yoyak import project
from yoyak.errors import UserError
from yoyak.tracking import lineage, runs
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.stage_run import StageRun

if TYPE_CHECKING:
    from mlflow.entities import Run

NOTE = "mlflow.note.content"
"""MLflow's tag for the description of a run, in Markdown."""
BEST_MEMBER, BEST_ENSEMBLE, BEST_MODEL = "yoyak.best_member", "yoyak.best_ensemble", "yoyak.best_model"
SHOWN = ("combined", "rouge1")


def log_scores(
    parent: StageRun,
    *,
    best_member: str,
    best_ensemble: str | None,
    means: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> None:
    """Log the scores of the best member and ensemble with the pipeline's run; those that it has are left as they are.

    ``means`` are mean scores by system, split and metric. Those of gate are left out, since nothing is chosen by them.
    """
    metrics = {
        f"{prefix}{split}/{metric}": means[system][split][metric]
        for prefix, system in (("", best_member), ("ensemble/", best_ensemble))
        if system
        for split in means[system]
        if split != project.GATE
        for metric in SHOWN
    }
    tags = {BEST_MEMBER: best_member, **({BEST_ENSEMBLE: best_ensemble} if best_ensemble else {})}
    existing = _get(parent)
    parent.log_metrics({key: value for key, value in metrics.items() if _value(existing, key) != value})
    parent.set_tags(tags)


def log_datasets(parent: StageRun, splits: Mapping[str, tuple[int, str]]) -> None:
    """Log the splits, with their numbers of dialogues and DVC's md5s, with the pipeline's run, unless it has them."""
    existing = _get(parent)
    names = {entry.dataset.name for entry in existing.inputs.dataset_inputs} if existing and existing.inputs else set()
    for split, (rows, md5) in splits.items():
        if split not in names:
            parent.log_dataset(project.split_file(split), context=split, rows=rows, digest=md5)


def log_model(parent: StageRun, *, model: str, model_id: str, gain: float | None, note: Sequence[str]) -> None:
    """Log the registered model, its gain on the gate split, and a description, with the pipeline's run."""
    from mlflow.entities import LoggedModelOutput

    existing = _get(parent)
    parent.set_tags({BEST_MODEL: model, NOTE: "\n\n".join(note)})
    parent.log_metrics({"gate/gain": gain if _value(existing, "gate/gain") != gain else None})
    models = {output.model_id for output in existing.outputs.model_outputs} if existing and existing.outputs else set()
    if model_id and model_id not in models:
        with translate_mlflow_errors():
            parent.client.log_outputs(parent.run_id, [LoggedModelOutput(model_id, step=0)])


def open_parent() -> StageRun:
    """Return the run of this commit's pipeline."""
    client, git = connect(), lineage.git()
    parent, _ = runs.parent_run(client, None, lineage.pipeline_key(git.commit), git)
    return runs.open_run(parent.info.run_id)


def _get(run: StageRun) -> Run | None:
    """Return MLflow's run; None while the store cannot be reached."""
    try:
        with translate_mlflow_errors():
            return run.client.get_run(run.run_id)
    except UserError:
        return None


def _value(run: Run | None, key: str) -> float | None:
    return run.data.metrics.get(key) if run else None
