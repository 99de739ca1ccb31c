"""Finding a member's training run, and rebuilding it if the tracking store does not have it.

DVC's run cache restores the outputs of a training stage without running it, so a fresh store has no such run. It is
rebuilt from those outputs (receipt, metrics and curves) and the member's params.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak import process
from yoyak.tracking import lineage, runs
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.stage_run import StageRun
from yoyak.tracking.sync import sync_runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

RESTORED, ORIGINAL_RUN, ORIGINAL_START = "restored", "restored.run_id", "restored.start"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """A training run in the tracking store."""

    run_id: str
    restored: bool
    """Whether the run was rebuilt, so that its id differs from the receipt's."""


def find_training_run(receipt: lineage.Receipt) -> TrainingRun | None:
    """Return the run that a receipt names, or the one rebuilt from it, or None.

    Unsent operations of the project are sent first.
    """
    client = connect()
    sync_runs()
    with translate_mlflow_errors():
        if _active_run(client, receipt.run_id):
            return TrainingRun(run_id=receipt.run_id, restored=False)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        for run in client.search_runs(experiments, f"tags.`{ORIGINAL_RUN}` = '{receipt.run_id}'"):
            if run.info.status == "FINISHED":
                return TrainingRun(run_id=run.info.run_id, restored=True)
    return None


@contextmanager
def restore_run(
    receipt: lineage.Receipt,
    *,
    params: Mapping[str, Any],
    metrics: Mapping[str, Any],
    curves: str | os.PathLike[str] | None = None,
) -> Iterator[StageRun]:
    """Rebuild a training run and yield it, so that its model can be logged again.

    ``metrics`` are the contents of training/<member>.json and ``curves`` is the path of plots/curves_<member>.csv. The
    run has the original's start and duration if known, and is tagged ``restored``. Its commit is the current one.
    """
    client, git = connect(), lineage.git()
    key = lineage.pipeline_key(git.commit)
    parent, _ = runs.parent_run(client, receipt.experiment, key, git)
    started = receipt.started or None
    tags = {
        **runs.common_tags(git, key),
        "mlflow.parentRunId": parent.info.run_id,
        runs.STAGE: "train",
        runs.MEMBER: receipt.member,
        runs.PROCESS: process.process_name(),
        **({"seed": str(params["seed"])} if "seed" in params else {}),
        "device": str(metrics.get("device", "unknown")),
        RESTORED: "true",
        ORIGINAL_RUN: receipt.run_id,
        ORIGINAL_START: datetime.fromtimestamp(started / 1000, UTC).isoformat() if started else "unknown",
        **runs.input_tags(receipt.inputs),
    }
    scalars = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
    ended = started + int(1000 * scalars.get("seconds", 0)) if started else None
    experiment = runs.child_experiment(client, parent, receipt.experiment)
    run = runs.create_run(client, experiment, f"train {receipt.member}", tags, started)
    status = "FAILED"
    try:
        run.log_params(params)
        run.log_curves(read_curves(curves) if curves is not None else [])
        run.log_metrics(scalars, step=int(scalars.get("steps", 0)))
        yield run
        status = "FINISHED"
    finally:
        with translate_mlflow_errors() if status == "FINISHED" else suppress(Exception):
            run.set_status(status, ended=ended)


def read_curves(path: str | os.PathLike[str]) -> list[dict[str, float | None]]:
    """Read plots/curves_<member>.csv: one row per logged step; an empty cell is None."""
    with Path(path).open(encoding="utf-8", newline="") as file:
        return [{name: float(cell) if cell else None for name, cell in row.items()} for row in csv.DictReader(file)]


def is_active(run_id: str) -> bool:
    """Return whether the store has a run, and nobody has deleted it."""
    client = connect()
    with translate_mlflow_errors():
        return _active_run(client, run_id) is not None


def _active_run(client: MlflowClient, run_id: str) -> Run | None:
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise
    return run if run.info.lifecycle_stage == "active" else None


def has_files(client: MlflowClient, model_id: str) -> bool:
    """Return whether the store still has a logged model's files."""
    from mlflow.exceptions import MlflowException

    try:
        return bool(model_id and client.list_logged_model_artifacts(model_id))
    except (MlflowException, OSError):
        return False
