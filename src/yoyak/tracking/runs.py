"""MLflow runs: one parent per pipeline, one child per stage and member. Nothing else creates runs.

    with runs.stage_run("train", member="bart", params={"members": ..., "seed": 20}, inputs=...) as run:
        run.log_metrics({"eval_loss": 2.1}, step=100)

The child is FINISHED when the block ends, FAILED if it raises an exception (its message becomes the tag
``yoyak.error``) and KILLED on Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import os
import sys
import time
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
    store_lock,
    translate_mlflow_errors,
)
from yoyak.tracking.outbox import Outbox
from yoyak.tracking.stage_run import ERROR, StageRun, mlflow_key
from yoyak.tracking.sync import sync_runs
from yoyak.tracking.uri import redact_credentials, sqlite_file, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Run

PIPELINE, STAGE, MEMBER = "yoyak.pipeline", "yoyak.stage", "yoyak.member"
PROCESS = "yoyak.process"

EXPERIMENT = "yoyak"
"""The default experiment."""
SETTLE_SECONDS = 0.5
"""How long a new parent run waits for another host's: longer than a request that creates one takes."""

_outer_run: list[str] = []
"""The run that `mlflow run` created for this process, once removed from the environment; at most one."""


@contextmanager
def stage_run(
    stage: str,
    *,
    member: str | None = None,
    params: Mapping[str, Any],
    inputs: Mapping[str, str],
    experiment: str | None = None,
) -> Iterator[StageRun]:
    """Open a stage's run under its pipeline's parent run, and close it with the status of the block.

    ``params`` may be nested and contain sections of params.yaml; a top-level ``seed`` is also set as a tag. ``inputs``
    are paths with DVC's md5s (`lineage.digests`). The experiment defaults to MLFLOW_EXPERIMENT_NAME, then ``yoyak``.

    Raises UserError if the tracking store cannot be reached. If the store becomes unreachable while the block runs,
    nothing is raised: the run's `Outbox` stores what is logged, and the next stage or `yoyak sync` sends it.
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
    run = replace(run, outbox=Outbox(client, run.run_id, name), parent_id=parent.info.run_id, closes_parent=is_ours)
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
        closing_tags[ERROR] = redact_credentials(" ".join(str(error).split())) or type(error).__name__
        raise
    finally:
        run.end(status, {**closing_tags, "device": lineage.device()})


def create_run(
    client: MlflowClient, experiment: Experiment, name: str, tags: Mapping[str, str], started: int | None = None
) -> StageRun:
    """Create a run; ``started`` is in milliseconds since 1970, by default now."""
    with translate_mlflow_errors():
        run = client.create_run(experiment.experiment_id, start_time=started, tags=dict(tags), run_name=name)
    return _as_stage_run(client, run, experiment)


def open_run(run_id: str) -> StageRun:
    """Return an existing run for further logging; UserError if the store does not have it."""
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
    """Return the tags that all runs have, parent or child."""
    experiment = os.environ.get("DVC_EXP_NAME")
    return {
        PIPELINE: key,
        "git.commit": git.commit,
        "git.dirty": str(git.dirty).lower(),
        **({"mlflow.source.git.commit": git.commit} if git.commit else {}),
        # A tracking store's or a storage's URI may hold a password.
        "mlflow.source.name": " ".join([Path(sys.argv[0]).name, *map(redact_credentials, sys.argv[1:])]),
        "mlflow.source.type": "LOCAL",
        "mlflow.user": lineage.current_user().partition("@")[0],
        **({"DVC_EXP_NAME": experiment} if experiment else {}),
    }


def input_tags(inputs: Mapping[str, str]) -> dict[str, str]:
    """Return the tags that record the inputs of a run by path and md5."""
    return {mlflow_key(f"input.{path}"): md5 for path, md5 in inputs.items()}


def parent_run(client: MlflowClient, experiment: str | None, key: str, git: lineage.Git) -> tuple[Run, bool]:
    """Return the pipeline's parent run, and whether its status is ours to set.

    Under `mlflow run`, the run that it created is the parent, and MLflow closes it. Otherwise it is the earliest run
    with the pipeline's key. With SQLite the lock keeps processes from creating two. On a server two hosts can: each
    looks again a moment later, and who was not first deletes its own.
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
    target = _default_experiment(client, experiment)
    with store_lock(), translate_mlflow_errors():
        parent = _find_parent(client, target, key)
        if parent is not None:
            return parent, True
        name = f"pipeline {os.environ.get('DVC_EXP_NAME') or git.commit[:7] or 'without git'}"
        run = client.create_run(target.experiment_id, tags={**common_tags(git, key), STAGE: "pipeline"}, run_name=name)
        if sqlite_file(tracking_uri()):
            return run, True
        time.sleep(SETTLE_SECONDS)
        parent = _find_parent(client, target, key) or run
        if parent.info.run_id != run.info.run_id:
            client.delete_run(run.info.run_id)
        return parent, True


def _find_parent(client: MlflowClient, experiment: Experiment, key: str) -> Run | None:
    parents = client.search_runs(
        [experiment.experiment_id],
        f"tags.`{PIPELINE}` = '{key}' AND tags.`{STAGE}` = 'pipeline'",
        order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
        max_results=1,
    )
    return parents[0] if parents else None


def child_experiment(client: MlflowClient, parent: Run, experiment: str | None) -> Experiment:
    """Return the experiment for a parent's children: the parent's, unless artifacts cannot be written there.

    That happens with `mlflow run` if `mlflow ui` was the first to open the store: the default experiment's artifact
    location is then the server's proxy, and no server is running.
    """
    with translate_mlflow_errors():
        parent_experiment = client.get_experiment(str(parent.info.experiment_id))
    return (
        parent_experiment
        if can_write_artifacts(parent_experiment.artifact_location)
        else _default_experiment(client, experiment)
    )


def _default_experiment(client: MlflowClient, name: str | None) -> Experiment:
    return get_or_create_experiment(client, name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT)


def _close_stale_runs(
    client: MlflowClient, experiment: Experiment, parent_id: str, stage: str, member: str | None
) -> None:
    """Close runs of this stage whose process ended without closing them, for example after SIGKILL."""
    query = f"tags.mlflow.parentRunId = '{parent_id}' AND tags.`{STAGE}` = '{stage}' AND status = 'RUNNING'" + (
        f" AND tags.`{MEMBER}` = '{member}'" if member else ""
    )
    with translate_mlflow_errors():
        for run in client.search_runs([experiment.experiment_id], query):
            if process.is_gone(run.data.tags.get(PROCESS, "")):
                client.set_tag(run.info.run_id, ERROR, "The process was killed.")
                client.set_terminated(run.info.run_id, "KILLED")
