"""Logging operations as plain values, to be sent to MLflow now or stored in a file and sent later."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow import MlflowClient

Kind = Literal["metrics", "params", "tags", "dataset", "table", "artifact", "artifacts", "status"]

BATCH_SIZES = {"metrics": 1000, "params": 100, "tags": 100}
"""The most entries that MLflow accepts in one call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One logging operation on a run."""

    run_id: str
    kind: Kind
    values: dict[str, Any]
    """The arguments of the operation, as JSON values; see `apply`."""


def apply(client: MlflowClient, operation: Operation) -> None:
    """Apply an operation to its run. It is idempotent; MLflow's exceptions are passed on."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    run_id, values = operation.run_id, operation.values
    match operation.kind:
        case "metrics":
            entries = [Metric(**entry, run_id=run_id) for entry in values["metrics"]]
            _log_batches(client, run_id, "metrics", entries)
        case "params":
            _log_batches(client, run_id, "params", [Param(key, value) for key, value in values.items()])
        case "tags":
            _log_batches(client, run_id, "tags", [RunTag(key, value) for key, value in values.items()])
        case "dataset":
            dataset = Dataset(**{key: value for key, value in values.items() if key != "context"})
            tags = [InputTag("mlflow.data.context", values["context"])]
            client.log_inputs(run_id, datasets=[DatasetInput(dataset, tags)])
        case "table":
            client.log_table(run_id, values["columns"], values["file"])
        case "artifact":
            client.log_artifact(run_id, values["path"], values["folder"])
        case "artifacts":
            client.log_artifacts(run_id, values["path"], values["folder"])
        case "status" if values["status"] == "RUNNING":
            client.update_run(run_id, status="RUNNING")
        case "status":
            client.set_terminated(run_id, values["status"], values["ended"])


def with_copied_files(operation: Operation, folder: Path) -> Operation:
    """Copy an operation's files into ``folder``, and return the operation with their new path.

    The originals may have changed or been deleted by the time it is sent.
    """
    if operation.kind not in ("artifact", "artifacts"):
        return operation
    source = Path(operation.values["path"])
    copy = folder / source.name
    if source.is_dir():
        shutil.copytree(source, copy)
    else:
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, copy)
    return replace(operation, values={**operation.values, "path": str(copy)})


def _log_batches(client: MlflowClient, run_id: str, kind: str, entries: Sequence[Any]) -> None:
    size = BATCH_SIZES[kind]
    for start in range(0, len(entries), size):
        batch: dict[str, Any] = {kind: entries[start : start + size]}
        client.log_batch(run_id, **batch)
