"""Logging a member, an ensemble or an exported model with its run as an MLflow model."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from yoyak.errors import UserError
from yoyak.models.families import get_family
from yoyak.models.manifest import TAG
from yoyak.models.spec import load_spec, save_spec
from yoyak.params import Generation, Serving
from yoyak.serving.code import code_digest
from yoyak.serving.saving import exported_metadata, save_model, temporary_copy, with_serving
from yoyak.tracking.client import translate_mlflow_errors
from yoyak.tracking.stage_run import MODEL, StageRun


def log_member(run: StageRun, folder: Path, *, example: str) -> str:
    """Log a member with its run and return the model's id.

    ``folder`` is what `yoyak train` saved: yoyak.json, and the Hugging Face model if the member has weights;
    ``example`` is a dialogue. Raises UserError where the folder does not hold such a model.
    """
    spec = load_spec(folder)
    for pattern in get_family(spec.family).saved_files:
        if not any(folder.glob(pattern)):
            raise UserError(f"{folder} has no {pattern}: run `yoyak train` for '{spec.member}' again.")
    return log_model(run, folder, name=spec.member, generation=spec.generation, example=example, metadata=spec.metadata)


def log_exported(run: StageRun, folder: Path, *, serving: Serving, example: str) -> str:
    """Log an exported model, which is served without torch, with its run and return the model's id.

    ``folder`` is what `yoyak export` wrote; ``serving`` is the section of params.yaml, which the model carries with
    it. If its ``batch_size`` is not a number, that of the model's generation settings is used. Raises UserError where
    the folder does not hold an exported model.
    """
    spec, metadata = load_spec(folder), exported_metadata(folder)
    with with_serving(folder, serving) as view:
        return log_model(run, view, name=spec.member, generation=spec.generation, example=example, metadata=metadata)


def log_model(
    run: StageRun,
    folder: Path,
    *,
    name: str,
    generation: Generation,
    example: str,
    metadata: Mapping[str, Any],
) -> str:
    """Log the folder of a model or an ensemble with its run and return the model's id.

    See `save_model` for what it takes. Nothing is loaded to log it.
    """
    from mlflow.entities import LoggedModelOutput
    from mlflow.models import Model

    with translate_mlflow_errors():
        params = run.client.get_run(run.run_id).data.params
        logged = run.client.create_logged_model(
            run.experiment_id, name, run.run_id, tags={"member": name}, params=params
        )
        try:
            with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
                path = Path(temporary) / "model"
                model = Model(
                    artifact_path=logged.artifact_location,
                    run_id=run.run_id,
                    model_uuid=logged.model_id,
                    model_id=logged.model_id,
                )
                digest = save_model(
                    path, folder, generation=generation, example=example, metadata=metadata, model=model
                )
                run.client.set_logged_model_tags(logged.model_id, {TAG: digest})
                run.client.log_model_artifacts(logged.model_id, str(path))
        except BaseException:
            run.client.finalize_logged_model(logged.model_id, "FAILED")
            raise
        run.client.finalize_logged_model(logged.model_id, "READY")
        run.client.log_outputs(run.run_id, [LoggedModelOutput(logged.model_id, step=0)])
    run.set_tags({MODEL: logged.model_id})
    return str(logged.model_id)


def model_identity(files: str, settings: BaseModel | Mapping[str, Any]) -> str:
    """Return the digest that identifies a model: of its files, of how it writes, and of the code that runs it.

    ``files`` is the files' digest; ``settings`` are the generation settings, and those of serving if it has any.
    """
    values = settings.model_dump(mode="json") if isinstance(settings, BaseModel) else settings
    return hashlib.sha256(f"{files} {json.dumps(values, sort_keys=True)} {code_digest()}".encode()).hexdigest()


@contextmanager
def with_generation(folder: Path, generation: Generation) -> Iterator[Path]:
    """Yield a view of a model's folder whose spec has the generation settings of the evaluated summaries."""
    with temporary_copy(folder) as view:
        save_spec(view, replace(load_spec(folder), generation=generation))
        yield view
