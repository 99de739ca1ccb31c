"""Runs in MLflow: one parent for each pipeline, a child for each stage and member. Nothing else creates runs.

    with runs.stage_run("train", member="bart", params={"members": ..., "seed": 20}, inputs=...) as run:
        run.log_metrics({"eval_loss": 2.1}, step=100)

The child is FINISHED when the block is left, FAILED where an exception leaves it (its sentence is the tag
``yoyak.error``) and KILLED on Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak import process
from yoyak.errors import UserError
from yoyak.tracking import lineage
from yoyak.tracking.client import (
    can_write_artifacts,
    connect,
    get_or_create_experiment,
    redact_credentials,
    store_lock,
    translate_mlflow_errors,
)
from yoyak.tracking.outbox import Outbox
from yoyak.tracking.stage_run import StageRun, mlflow_key
from yoyak.tracking.sync import sync_runs
from yoyak.tracking.uri import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

PIPELINE, STAGE, MEMBER = "yoyak.pipeline", "yoyak.stage", "yoyak.member"
PROCESS, ERROR = "yoyak.process", "yoyak.error"
PREDICTIONS = "predictions/dev.jsonl"
PREDICTIONS_MD5, PREDICTIONS_MODEL = "yoyak.predictions.dev_md5", "yoyak.predictions.model_id"

EXPERIMENT = "yoyak"
"""The experiment of runs where nobody names another."""

_outer_run: list[str] = []
"""The run that `mlflow run` created for this process, once it has been taken out of the environment."""


@contextmanager
def stage_run(
    stage: str,
    *,
    member: str | None = None,
    params: Mapping[str, Any],
    inputs: Mapping[str, str],
    experiment: str | None = None,
) -> Iterator[StageRun]:
    """Open the run of a stage below its pipeline's parent run, and close it with the status that the block earned.

    ``params`` may nest and hold sections of params.yaml; a ``seed`` among them is a tag too. ``inputs`` are paths with
    DVC's md5s (`lineage.digests`). The experiment is MLFLOW_EXPERIMENT_NAME or ``yoyak`` where none is named.

    Raises UserError where the tracking store cannot be reached. Once the block runs, a store that goes away raises
    nothing: what is logged is kept in the run's `Outbox`, and sent by the next stage or by `yoyak sync`.
    """
    client, git = connect(), lineage.git()
    sync_runs()
    key = lineage.pipeline_key(git.commit)
    parent, is_ours = parent_run(client, experiment, key, git)
    target = child_experiment(client, parent, experiment)
    _close_stale_runs(client, target, parent.info.run_id, stage, member)
    name = f"{stage} {member}" if member else stage
    tags = {
        **common_tags(git, key),
        "mlflow.parentRunId": parent.info.run_id,
        STAGE: stage,
        **({MEMBER: member} if member else {}),
        PROCESS: process.process_name(),
        **({"seed": str(params["seed"])} if "seed" in params else {}),
        **{f"version.{package}": version for package, version in lineage.versions().items()},
        **input_tags(inputs),
    }
    run = create_run(client, target, name, tags)
    outbox = Outbox(client, run.run_id, name)
    run = replace(run, outbox=outbox)
    run.log_params(params)
    if is_ours:
        run.set_status("RUNNING", run_id=parent.info.run_id)
    status, closing_tags = "FAILED", {}
    try:
        with process.exit_on_sigterm():
            yield run
        status = "FINISHED"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code == process.TERMINATED):
            status = "KILLED"
        closing_tags[ERROR] = " ".join(str(error).split()) or type(error).__name__
        raise
    finally:
        run.set_tags({**closing_tags, "device": lineage.device()})
        run.set_status(status)
        if is_ours:
            run.set_status(status, run_id=parent.info.run_id)
        outbox.close()


def attach_predictions(run_id: str, path: str | os.PathLike[str], dataset_md5: str, *, model_id: str = "") -> None:
    """Keep a training's dev predictions with its run, so that later models can be compared without decoding again.

    Those of the same model on the same dev set are kept once.
    """
    client = connect()
    tags = {PREDICTIONS_MD5: dataset_md5, PREDICTIONS_MODEL: model_id}
    with translate_mlflow_errors():
        known = client.get_run(run_id).data.tags
        if model_id and all(known.get(key) == value for key, value in tags.items()):
            return
        client.log_artifact(run_id, str(path), str(Path(PREDICTIONS).parent))
        for key, value in tags.items():
            client.set_tag(run_id, key, value)


def create_run(
    client: MlflowClient, experiment: Experiment, name: str, tags: Mapping[str, str], started: int | None = None
) -> StageRun:
    """Create a run; ``started`` is in milliseconds since 1970, by default now."""
    with translate_mlflow_errors():
        run = client.create_run(experiment.experiment_id, start_time=started, tags=dict(tags), run_name=name)
    return _as_stage_run(client, run, experiment)


def open_run(run_id: str) -> StageRun:
    """Return a run that exists, to write more to it; UserError where the store does not have it."""
    client = connect()
    with translate_mlflow_errors():
        run = client.get_run(run_id)
        return _as_stage_run(client, run, client.get_experiment(run.info.experiment_id))


def _as_stage_run(client: MlflowClient, run: Run, experiment: Experiment) -> StageRun:
    return StageRun(
        client=client,
        run_id=run.info.run_id,
        experiment_id=str(experiment.experiment_id),
        experiment=experiment.name,
        started=run.info.start_time,
    )


def common_tags(git: lineage.Git, key: str) -> dict[str, str]:
    """Return the tags of every run, parent or child."""
    experiment = os.environ.get("DVC_EXP_NAME")
    return {
        PIPELINE: key,
        "git.commit": git.commit,
        "git.dirty": str(git.dirty).lower(),
        **({"mlflow.source.git.commit": git.commit} if git.commit else {}),
        "mlflow.source.name": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "mlflow.source.type": "LOCAL",
        "mlflow.user": lineage.person().partition("@")[0],
        **({"DVC_EXP_NAME": experiment} if experiment else {}),
    }


def input_tags(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that say which inputs, by path and md5, a run read."""
    return {mlflow_key(f"input.{path}"): md5 for path, md5 in inputs.items()}


def parent_run(client: MlflowClient, experiment: str | None, key: str, git: lineage.Git) -> tuple[Run, bool]:
    """Return the pipeline's parent run, and whether its status is ours to set.

    The run that `mlflow run` created is that parent, and MLflow closes it. Otherwise it is the earliest run with the
    pipeline's key; the lock keeps processes of one machine from creating two, the order settles it for more machines.
    """
    if "MLFLOW_RUN_ID" in os.environ:
        _outer_run[:] = [os.environ.pop("MLFLOW_RUN_ID")]
    if _outer_run:
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(_outer_run[0])
            client.set_tag(_outer_run[0], PIPELINE, key)
            client.set_tag(_outer_run[0], STAGE, "pipeline")
        except MlflowException as error:
            raise UserError(
                f"MLFLOW_RUN_ID names the run {_outer_run[0]}, which {redact_credentials(tracking_uri())} does not "
                f"have: unset it."
            ) from error
        return run, False
    own = _own_experiment(client, experiment)
    with store_lock(), translate_mlflow_errors():
        parents = client.search_runs(
            [own.experiment_id],
            f"tags.`{PIPELINE}` = '{key}' AND tags.`{STAGE}` = 'pipeline'",
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            max_results=1,
        )
        if parents:
            return parents[0], True
        name = f"pipeline {os.environ.get('DVC_EXP_NAME') or git.commit[:7] or 'without git'}"
        run = client.create_run(own.experiment_id, tags={**common_tags(git, key), STAGE: "pipeline"}, run_name=name)
        return run, True


def child_experiment(client: MlflowClient, parent: Run, experiment: str | None) -> Experiment:
    """Return the experiment of a parent's children: the parent's, unless files cannot be written there.

    That happens to `mlflow run` after `mlflow ui` was the first to use the store: the default experiment's files belong
    to the server then, and there is no server.
    """
    with translate_mlflow_errors():
        of_parent = client.get_experiment(str(parent.info.experiment_id))
    return of_parent if can_write_artifacts(of_parent.artifact_location) else _own_experiment(client, experiment)


def _own_experiment(client: MlflowClient, name: str | None) -> Experiment:
    return get_or_create_experiment(client, name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)


def _close_stale_runs(
    client: MlflowClient, experiment: Experiment, parent_id: str, stage: str, member: str | None
) -> None:
    """Close the runs of this stage whose process ended without closing them, as after SIGKILL."""
    query = f"tags.mlflow.parentRunId = '{parent_id}' AND tags.`{STAGE}` = '{stage}' AND status = 'RUNNING'" + (
        f" AND tags.`{MEMBER}` = '{member}'" if member else ""
    )
    with translate_mlflow_errors():
        for run in client.search_runs([experiment.experiment_id], query):
            if process.is_gone(run.data.tags.get(PROCESS, "")):
                client.set_tag(run.info.run_id, ERROR, "The process was killed.")
                client.set_terminated(run.info.run_id, "KILLED")
