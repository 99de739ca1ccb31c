"""Runs in MLflow: one parent for each pipeline, a child for each stage and member. Nothing else writes runs.

    with tracking.stage_run(stage="train", member="bart", params=..., seed=20, inputs=..., experiment="yoyak") as run:
        run.log_metrics({"eval_loss": 2.1}, step=100)

The child is FINISHED when the block is left, FAILED where an exception leaves it (its sentence is the tag
``yoyak.error``) and KILLED on Ctrl-C and SIGTERM.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from yoyak import lineage
from yoyak.errors import UserError
from yoyak.tracking_store import connect, experiment_id, locked, reported, shown
from yoyak.tracking_uri import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PIPELINE, STAGE, MEMBER = "yoyak.pipeline", "yoyak.stage", "yoyak.member"
PROCESS, ERROR, MODEL = "yoyak.process", "yoyak.error", "yoyak.model_id"
PREDICTIONS, PREDICTIONS_MD5 = "predictions/dev.jsonl", "yoyak.predictions.dev_md5"

_BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""The most that MLflow takes in one call."""
_TERMINATED = 128 + signal.SIGTERM

_given: list[str] = []
"""The run that `mlflow run` made for this process, once it has been taken out of the environment."""


@dataclass(frozen=True, slots=True)
class StageRun:
    """A run that is being written."""

    client: MlflowClient
    run_id: str
    experiment_id: str

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0, model_id: str | None = None) -> None:
        """Log numbers at a step, in one call; None is left out. ``model_id`` shows them at that model as well."""
        self.log_curves([{"step": step, **metrics}], model_id=model_id)

    def log_curves(self, rows: Sequence[Mapping[str, float | None]], model_id: str | None = None) -> None:
        """Log rows of metrics, each with its ``step``, a thousand values to a call; None is left out."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [
            Metric(_key(key), float(value), now, int(row["step"] or 0), model_id=model_id, run_id=self.run_id)
            for row in rows
            for key, value in row.items()
            if key != "step" and value is not None
        ]
        _log(self.client, self.run_id, "metrics", metrics)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested values under dotted names."""
        from mlflow.entities import Param

        _log(self.client, self.run_id, "params", [Param(_key(key), value) for key, value in flatten(params).items()])

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, in one call."""
        from mlflow.entities import RunTag

        _log(self.client, self.run_id, "tags", [RunTag(key, value) for key, value in tags.items()])

    def log_dataset(
        self, *, name: str, path: str, digest: str, context: str, rows: int, columns: Sequence[str]
    ) -> None:
        """Log a data file that the run read; ``digest`` is DVC's md5, ``context`` its use, such as ``training``."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = {"mlflow_colspec": [{"type": "string", "name": column, "required": True} for column in columns]}
        dataset = Dataset(
            name=name,
            digest=digest,
            source_type="local",
            source=json.dumps({"uri": path}),
            schema=json.dumps(schema),
            profile=json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
        )
        with reported():
            tags = [InputTag("mlflow.data.context", context)]
            self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, tags)])

    def log_table(self, rows: Sequence[Mapping[str, Any]], artifact_file: str = "samples.json") -> None:
        """Log rows with the same keys as a table that MLflow's UI shows."""
        columns = {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}
        with reported():
            self.client.log_table(self.run_id, columns, artifact_file)

    def log_artifact(self, path: str | os.PathLike[str], folder: str | None = None) -> None:
        """Copy a file, or a folder with all that is in it, to the run's artifacts."""
        with reported():
            self.client.log_artifact(self.run_id, str(path), folder)

    def log_figure(self, figure: Any, artifact_file: str) -> None:
        """Log a matplotlib or plotly figure as the file of this name."""
        with reported():
            self.client.log_figure(self.run_id, figure, artifact_file)


@contextmanager
def stage_run(
    *,
    stage: str,
    member: str | None = None,
    params: Mapping[str, Any],
    seed: int,
    inputs: Mapping[str, str],
    experiment: str,
) -> Iterator[StageRun]:
    """Open the run of a stage below its pipeline's parent run, and close it with the status that the block earned.

    ``params`` may nest and hold sections of params.yaml; ``inputs`` are paths with DVC's md5s (`lineage.digests`).
    Raises UserError where the tracking store cannot be reached.
    """
    client, git = connect(), lineage.git()
    key = lineage.pipeline_key(git.commit)
    parent, ours = parent_run(client, experiment, key, git)
    _bury(client, parent, stage, member)
    name = f"{stage} {member}" if member else stage
    tags = {
        **common_tags(git, key),
        "mlflow.parentRunId": parent.info.run_id,
        STAGE: stage,
        **({MEMBER: member} if member else {}),
        PROCESS: lineage.process(),
        "seed": str(seed),
        **{f"version.{package}": version for package, version in lineage.versions().items()},
        **input_tags(inputs),
    }
    run = create_run(client, parent.info.experiment_id, name, tags)
    run.log_params({**params, "seed": seed})
    if ours:
        close_run(client, parent.info.run_id, "RUNNING")
    status, closing = "FAILED", {}
    try:
        with _sigterm_raises():
            yield run
        status = "FINISHED"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code == _TERMINATED):
            status = "KILLED"
        closing[ERROR] = " ".join(str(error).split()) or type(error).__name__
        raise
    finally:
        # Where the block failed, the store may be the reason: that error is the one to be seen.
        with reported() if status == "FINISHED" else suppress(Exception):
            run.set_tags({**closing, "device": lineage.device()})
            close_run(client, run.run_id, status)
            if ours:
                close_run(client, parent.info.run_id, status)


def attach_predictions(run_id: str, path: str | os.PathLike[str], dataset_md5: str) -> None:
    """Keep a training's dev predictions with its run, so that later models can be compared without decoding again."""
    client = connect()
    with reported():
        client.log_artifact(run_id, str(path), str(Path(PREDICTIONS).parent))
        client.set_tag(run_id, PREDICTIONS_MD5, dataset_md5)


def flatten(params: Mapping[str, Any]) -> dict[str, str]:
    """Return nested params under dotted names as the text that YAML would show; lists are JSON."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        inner = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        if isinstance(inner, Mapping):
            flat |= {f"{key}.{name}": text for name, text in flatten(inner).items()}
        else:
            flat[str(key)] = inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
    return flat


def create_run(
    client: MlflowClient, experiment: str, name: str, tags: Mapping[str, str], started: int | None = None
) -> StageRun:
    """Make a run; ``started`` is in milliseconds since 1970, by default now."""
    with reported():
        run = client.create_run(experiment, start_time=started, tags=dict(tags), run_name=name)
    return StageRun(client, run.info.run_id, experiment)


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
    return {_key(f"input.{path}"): md5 for path, md5 in inputs.items()}


def parent_run(client: MlflowClient, experiment: str, key: str, git: lineage.Git) -> tuple[Run, bool]:
    """Return the pipeline's parent run, and whether its status is ours to set.

    The run that `mlflow run` made is that parent, and stays MLflow's to close. Else it is the earliest that carries
    the pipeline's key; the lock keeps processes of one machine from making two, the order settles it for more.
    """
    if "MLFLOW_RUN_ID" in os.environ:
        _given[:] = [os.environ.pop("MLFLOW_RUN_ID")]
    if _given:
        from mlflow.exceptions import MlflowException

        try:
            run = client.get_run(_given[0])
            client.set_tag(_given[0], PIPELINE, key)
            client.set_tag(_given[0], STAGE, "pipeline")
        except MlflowException as error:
            raise UserError(
                f"MLFLOW_RUN_ID names the run {_given[0]}, which {shown(tracking_uri())} does not have: unset it."
            ) from error
        return run, False
    place = experiment_id(client, experiment)
    with locked(), reported():
        found = client.search_runs(
            [place],
            f"tags.`{PIPELINE}` = '{key}' AND tags.`{STAGE}` = 'pipeline'",
            order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
            max_results=1,
        )
        if found:
            return found[0], True
        name = f"pipeline {os.environ.get('DVC_EXP_NAME') or git.commit[:7] or 'without git'}"
        run = client.create_run(place, tags={**common_tags(git, key), STAGE: "pipeline"}, run_name=name)
        return run, True


def _bury(client: MlflowClient, parent: Run, stage: str, member: str | None) -> None:
    """Close the runs of this stage whose process ended without a word, as one does that is killed by SIGKILL."""
    query = (
        f"tags.mlflow.parentRunId = '{parent.info.run_id}' AND tags.`{STAGE}` = '{stage}' AND status = 'RUNNING'"
        + (f" AND tags.`{MEMBER}` = '{member}'" if member else "")
    )
    with reported():
        for run in client.search_runs([parent.info.experiment_id], query):
            if lineage.is_gone(run.data.tags.get(PROCESS, "")):
                client.set_tag(run.info.run_id, ERROR, "The process was killed.")
                close_run(client, run.info.run_id, "KILLED")


def close_run(client: MlflowClient, run_id: str, status: str, ended: int | None = None) -> None:
    """Set a run's status; one that is RUNNING has no end."""
    if status == "RUNNING":
        client.update_run(run_id, status=status)
    else:
        client.set_terminated(run_id, status, ended)


def _log(client: MlflowClient, run_id: str, kind: str, entities: Sequence[Any]) -> None:
    with reported():
        for start in range(0, len(entities), _BATCH[kind]):
            batch: dict[str, Any] = {kind: entities[start : start + _BATCH[kind]]}
            client.log_batch(run_id, **batch)


def _key(name: str) -> str:
    """Return a name with what MLflow refuses in the keys of params, metrics and tags replaced."""
    return re.sub(r"[^/\w.\- :]", "_", name)


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """Let SIGTERM leave the block as SystemExit, where nobody else handles it."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(_TERMINATED)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
