"""From what a person calls a model to the Hugging Face folder on this disk."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from yoyak.errors import UserError, nearest
from yoyak.files import cached_folder

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

PROGRESS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
FORMS = "a folder, models:/<name>@<alias>, models:/<name>/<version>, runs:/<run id>/<model's name> or a bundle's .zip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """A model of MLflow: where its files are, and what is known of it."""

    uri: str
    location: str
    model_id: str | None
    run_id: str | None
    version: ModelVersion | None = None
    """The registered version, where that is what was asked for."""


def resolve_model(uri: str) -> Path:
    """Return the folder with the model's config.json, weights and tokenizer.

    ``uri`` is a folder (of a member, or of an MLflow model) or one of MLflow's URIs: ``models:/yoyak@champion``,
    ``models:/yoyak-bart/3``, ``models:/m-<id>``, ``runs:/<run id>/bart``. A model that is not on this disk is
    downloaded once and kept in the user's cache folder. Raises UserError that names the nearest model or alias.
    """
    if Path(uri).is_dir():
        return _inner(Path(uri), uri)
    return folder_of(locate(uri))


def locate(uri: str) -> Located:
    """Return where MLflow has the model of one of its URIs; UserError that names the nearest model or alias."""
    kind, _, rest = uri.partition(":/")
    rest = rest.strip("/")
    if kind not in ("models", "runs") or not rest:
        raise UserError(f"There is no model at '{uri}': give {FORMS}.")

    from yoyak.tracking.client import connect, translate_mlflow_errors

    client = connect()
    with translate_mlflow_errors():
        return _of_run(client, rest, uri) if kind == "runs" else _of_registry(client, rest, uri)


def files_of(model: Located) -> Path:
    """Return MLflow's own folder of a model, the one with MLmodel, downloaded where it is not on this disk."""
    from yoyak.tracking.client import translate_mlflow_errors

    with translate_mlflow_errors():
        return _local(model.location, model.uri)


def folder_of(model: Located) -> Path:
    """Return the Hugging Face folder of a model of MLflow, downloaded where it is not on this disk."""
    return _inner(files_of(model), model.uri)


def cache_folder() -> Path:
    """Return the folder for what can be downloaded or unpacked again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yoyak"


def _of_registry(client: MlflowClient, rest: str, uri: str) -> Located:
    """Return the model of ``name@alias``, ``name/version`` or a logged model's id."""
    from mlflow.exceptions import MlflowException

    name, at, alias = rest.partition("@")
    if not at:
        name, _, version = rest.partition("/")
        if not version:
            return _of_model(client, name, uri)
    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        names = [known.name for known in client.search_registered_models()]
        raise UserError(f"No registered model is named '{name}'{nearest(name, names)}.") from error
    if at:
        if alias not in model.aliases:
            raise UserError(f"The registered model {name} has no alias '{alias}'{nearest(alias, model.aliases)}.")
        version = str(model.aliases[alias])
    try:
        found = client.get_model_version(name, version)
        location = str(client.get_model_version_download_uri(name, version))
    except MlflowException as error:
        known = [str(found.version) for found in client.search_model_versions(f"name = '{name}'")]
        raise UserError(f"The registered model {name} has no version '{version}'{nearest(version, known)}.") from error
    source = str(found.source or "").removeprefix("models:/")
    model_id = source if source.startswith("m-") else None
    return Located(uri=uri, location=location, model_id=model_id, run_id=found.run_id or None, version=found)


def _of_model(client: MlflowClient, model_id: str, uri: str) -> Located:
    """Return a logged model; what is no id of one is taken for a name without an alias."""
    from mlflow.exceptions import MlflowException

    try:
        return _logged(client.get_logged_model(model_id), uri)
    except MlflowException as error:
        if model_id.startswith("m-"):
            raise UserError(f"MLflow has no model with the id '{model_id}': copy it from `mlflow ui`.") from error
        names = [known.name for known in client.search_registered_models()]
        hint = "" if model_id in names else nearest(model_id, names)
        raise UserError(
            f"models:/{model_id}{hint} needs an alias or a version, such as models:/yoyak@champion."
        ) from error


def _of_run(client: MlflowClient, rest: str, uri: str) -> Located:
    from mlflow.exceptions import MlflowException

    run_id, _, name = rest.partition("/")
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"MLflow has no run '{run_id}': copy the run's id from `mlflow ui`.") from error
    outputs = run.outputs.model_outputs if run.outputs else []
    models = {found.name: found for found in (client.get_logged_model(output.model_id) for output in outputs)}
    if not name and len(models) == 1:
        name = next(iter(models))
    if name not in models:
        raise UserError(f"The run {run_id} logged no model named '{name}'{nearest(name, models)}.")
    return _logged(models[name], uri)


def _logged(model: LoggedModel, uri: str) -> Located:
    return Located(
        uri=uri,
        location=str(model.artifact_location),
        model_id=model.model_id,
        run_id=model.source_run_id or None,
    )


def _local(location: str, uri: str) -> Path:
    """Return the folder at an artifact location, downloaded where it is not on this disk."""
    parsed = urlparse(location)
    if parsed.scheme in ("", "file"):
        folder = Path(url2pathname(parsed.path) if parsed.scheme else location)
        if not folder.is_dir():
            raise UserError(f"The files of {uri} are gone from {folder}: run `dvc repro` to register it again.")
        return folder
    folder = cache_folder() / "models" / hashlib.md5(location.encode()).hexdigest()
    return cached_folder(folder, lambda work: _download(location, work))


def _download(location: str, folder: Path) -> None:
    import mlflow.artifacts

    # People wait for a download: MLflow's progress bar, which is off elsewhere, is on here.
    hidden = os.environ.pop(PROGRESS, None)
    try:
        download = folder.with_name("download")
        download.mkdir()
        Path(mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=str(download))).rename(folder)
    finally:
        if hidden is not None:
            os.environ[PROGRESS] = hidden


def _inner(folder: Path, uri: str) -> Path:
    """Return the folder of a model or an ensemble that is ``folder``, or is within the MLflow model there."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if _usable(folder):
        return folder
    if not (folder / "MLmodel").is_file():
        raise UserError(f"There is no model in '{uri}': it has neither config.json nor MLmodel.")
    try:
        flavor = YAML(typ="safe").load(folder / "MLmodel")["flavors"]["python_function"]
        inside = flavor.get("artifacts", {}).get("model", {}).get("path")
    except (YAMLError, KeyError, TypeError, AttributeError):
        inside = None
    if not inside or not _usable(folder / inside):
        raise UserError(f"The MLflow model at '{uri}' was not made by Yoyak: it has no Hugging Face model in it.")
    return folder / Path(inside)


def _usable(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", "ensemble.json", "onnx.json"))
