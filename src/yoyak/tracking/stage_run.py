"""A run of MLflow that is being written: its params, metrics, tags, datasets, tables and files."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.tracking import lineage
from yoyak.tracking.client import translate_mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient

MODEL = "yoyak.model_id"
"""The tag with the id of the model that was logged with a run."""
COLUMNS = ("fname", "dialogue", "summaries", "topic", "slice")
"""The columns of prepared data."""

_BATCH = {"metrics": 1000, "params": 100, "tags": 100}
"""The most that MLflow takes in one call."""


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
            Metric(mlflow_key(key), float(value), now, int(row["step"] or 0), model_id=model_id, run_id=self.run_id)
            for row in rows
            for key, value in row.items()
            if key != "step" and value is not None
        ]
        _log(self.client, self.run_id, "metrics", metrics)

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log nested values under dotted names."""
        from mlflow.entities import Param

        found = [Param(mlflow_key(key), value) for key, value in flatten(params).items()]
        _log(self.client, self.run_id, "params", found)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags, in one call."""
        from mlflow.entities import RunTag

        _log(self.client, self.run_id, "tags", [RunTag(key, value) for key, value in tags.items()])

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
        """Log a data file that the run read; ``context`` is its use, such as ``train``.

        The digest is DVC's md5 of the file, computed where it is not given; the name is the file's.
        """
        from mlflow.entities import Dataset, DatasetInput, InputTag

        schema = {"mlflow_colspec": [{"type": "string", "name": column, "required": True} for column in columns]}
        dataset = Dataset(
            name=name or Path(path).stem,
            digest=digest or lineage.digest(path),
            source_type="local",
            source=json.dumps({"uri": Path(path).as_posix()}),
            schema=json.dumps(schema),
            profile=json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
        )
        with translate_mlflow_errors():
            tags = [InputTag("mlflow.data.context", context)]
            self.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, tags)])

    def log_table(self, rows: Sequence[Mapping[str, Any]], artifact_file: str = "samples.json") -> None:
        """Log rows with the same keys as a table that MLflow's UI shows."""
        columns = {key: [row[key] for row in rows] for key in (rows[0] if rows else ())}
        with translate_mlflow_errors():
            self.client.log_table(self.run_id, columns, artifact_file)

    def log_artifact(self, path: str | os.PathLike[str], folder: str | None = None) -> None:
        """Copy a file, or a folder under its own name, to the run's artifacts."""
        with translate_mlflow_errors():
            self.client.log_artifact(self.run_id, str(path), folder)

    def log_artifacts(self, folder: str | os.PathLike[str], into: str | None = None) -> None:
        """Copy what is in a folder to the run's artifacts, or to a folder there."""
        with translate_mlflow_errors():
            self.client.log_artifacts(self.run_id, str(folder), into)

    def log_figure(self, figure: Any, artifact_file: str) -> None:
        """Log a matplotlib or plotly figure as the file of this name."""
        with translate_mlflow_errors():
            self.client.log_figure(self.run_id, figure, artifact_file)

    def receipt(self, member: str, inputs: Mapping[str, str]) -> lineage.Receipt:
        """Return the receipt of this training."""
        with translate_mlflow_errors():
            run = self.client.get_run(self.run_id)
            experiment = self.client.get_experiment(self.experiment_id)
        return lineage.Receipt(
            run_id=self.run_id,
            member=member,
            inputs=dict(inputs),
            experiment=experiment.name,
            started=run.info.start_time,
        )


def flatten(params: Mapping[str, Any]) -> dict[str, str]:
    """Return nested params under dotted names as the text that YAML would show; lists are JSON."""
    flat: dict[str, str] = {}
    for key, value in params.items():
        inner = value.model_dump(mode="json") if hasattr(value, "model_dump") else value
        if isinstance(inner, Mapping):
            flat |= {f"{key}.{name}": text for name, text in flatten(inner).items()}
        else:
            flat[str(key)] = inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False, default=str)
    return flat


def mlflow_key(name: str) -> str:
    """Return a name with what MLflow refuses in the keys of params, metrics and tags replaced."""
    return re.sub(r"[^/\w.\- :]", "_", name)


def _log(client: MlflowClient, run_id: str, kind: str, entities: Sequence[Any]) -> None:
    with translate_mlflow_errors():
        for start in range(0, len(entities), _BATCH[kind]):
            batch: dict[str, Any] = {kind: entities[start : start + _BATCH[kind]]}
            client.log_batch(run_id, **batch)
