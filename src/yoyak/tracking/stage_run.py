"""An open MLflow run: logging params, metrics, tags, datasets, tables and files."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.tracking import lineage
from yoyak.tracking.client import translate_mlflow_errors
from yoyak.tracking.operations import Kind, Operation, apply
from yoyak.tracking.outbox import Outbox

if TYPE_CHECKING:
    from mlflow import MlflowClient

ERROR = "yoyak.error"
"""Tag with the message of the error that ended a run."""
MODEL = "yoyak.model_id"
"""Tag with the id of the model logged with a run."""
COLUMNS = ("fname", "dialogue", "summaries", "topic", "slice")
"""The columns of prepared data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """An open run.

    With an outbox, logging raises no error while the store is unreachable: entries are kept and sent later.
    """

    client: MlflowClient
    run_id: str
    experiment_id: str
    experiment: str
    """Name of the experiment."""
    started: int
    """Milliseconds since 1970."""
    outbox: Outbox | None = None
    parent_id: str = ""
    """Id of the pipeline's run, if this is the run of a stage."""
    closes_parent: bool = False
    """Whether the pipeline's run gets the status of this one."""

    @property
    def parent(self) -> StageRun:
        """The pipeline's run, for logging."""
        return replace(self, run_id=self.parent_id, parent_id="")

    def log_metrics(self, metrics: Mapping[str, float | None], step: int = 0, model_id: str | None = None) -> None:
        """Log metrics at a step in one call, skipping None. ``model_id`` also attaches them to that logged model."""
        self.log_curves([{"step": step, **metrics}], model_id=model_id)

    def log_curves(self, rows: Sequence[Mapping[str, float | None]], model_id: str | None = None) -> None:
        """Log rows of metrics, each with its ``step``, a thousand values per call, skipping None."""
        now = int(time.time() * 1000)
        metrics = [
            {
                "key": mlflow_key(key),
                "value": float(value),
                "timestamp": now,
                "step": int(row["step"] or 0),
                "model_id": model_id,
            }
            for row in rows
            for key, value in row.items()
            if key != "step" and value is not None
        ]
        self._write("metrics", {"metrics": metrics})

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested values under dotted names."""
        self._write("params", {mlflow_key(key): value for key, value in flatten(params).items()})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, in one call."""
        self._write("tags", dict(tags))

    def log_dataset(
        self,
        path: str | os.PathLike[str],
        *,
        context: str,
        rows: int,
        name: str | None = None,
        digest: str | None = None,
        columns: Sequence[str] = COLUMNS,
    ) -> None:
        """Log a data file that the run read; ``context`` says what for, such as ``train``.

        The digest defaults to DVC's md5 of the file, and the name to the file's.
        """
        schema = {"mlflow_colspec": [{"type": "string", "name": column, "required": True} for column in columns]}
        self._write(
            "dataset",
            {
                "name": name or Path(path).stem,
                "digest": digest or lineage.digest(path),
                "source_type": "local",
                "source": json.dumps({"uri": Path(path).as_posix()}),
                "schema": json.dumps(schema),
                "profile": json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
                "context": context,
            },
        )

    def log_table(self, rows: Sequence[Mapping[str, Any]], artifact_file: str = "samples.json") -> None:
        """Log rows with the same keys as a table that MLflow's UI shows."""
        columns = {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}
        self._write("table", {"columns": columns, "file": artifact_file})

    def log_artifact(self, path: str | os.PathLike[str], folder: str | None = None) -> None:
        """Copy a file, or a folder under its own name, to the run's artifacts."""
        self._write("artifact", {"path": str(path), "folder": folder})

    def log_artifacts(self, folder: str | os.PathLike[str], into: str | None = None) -> None:
        """Copy the contents of a folder to the run's artifacts, or to a subfolder of them."""
        self._write("artifacts", {"path": str(folder), "folder": into})

    def set_status(self, status: str, *, ended: int | None = None, run_id: str | None = None) -> None:
        """Set the status of this run, or of its parent; ``ended`` is in milliseconds since 1970, by default now."""
        values = {"status": status, "ended": int(time.time() * 1000) if ended is None else ended}
        self._write("status", values, run_id)

    def end(self, status: str, tags: Mapping[str, str], *, ended: int | None = None) -> None:
        """Set the last tags and the status, also that of the pipeline's run, and send what is unsent."""
        self.set_tags(tags)
        self.set_status(status, ended=ended)
        if self.closes_parent:
            self.set_status(status, run_id=self.parent_id)
        if self.outbox is not None:
            self.outbox.close()

    def receipt(self, member: str, inputs: Mapping[str, str]) -> lineage.Receipt:
        """Return the receipt of this training run, without a request to the store."""
        return lineage.Receipt(
            run_id=self.run_id,
            member=member,
            inputs=dict(inputs),
            experiment=self.experiment,
            started=self.started,
        )

    def _write(self, kind: Kind, values: dict[str, Any], run_id: str | None = None) -> None:
        operation = Operation(run_id=run_id or self.run_id, kind=kind, values=values)
        if self.outbox is not None:
            self.outbox.write(operation)
        else:
            with translate_mlflow_errors():
                apply(self.client, operation)


def flatten(params: Mapping[str, Any]) -> dict[str, str]:
    """Return nested params under dotted names, as text; lists are JSON."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        plain = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        if isinstance(plain, Mapping):
            flat |= {f"{key}.{name}": text for name, text in flatten(plain).items()}
        else:
            flat[str(key)] = plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False, default=str)
    return flat


def mlflow_key(name: str) -> str:
    """Return a name with the characters replaced that MLflow rejects in keys of params, metrics and tags."""
    return re.sub(r"[^/\w.\- :]", "_", name)
