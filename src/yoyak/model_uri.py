"""From what a person calls a model to the Hugging Face folder on this disk."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROGRESS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
FORMS = "a folder, models:/<name>@<alias>, models:/<name>/<version> or runs:/<run id>/<model's name>"


def resolve_model(uri: str) -> Path:
    """Return the folder with the model's config.json, weights and tokenizer.

    ``uri`` is a folder (of a member, or of an MLflow model), or one of MLflow's URIs: ``models:/yoyak@champion``,
    ``models:/yoyak-bart/3``, ``models:/m-<id>``, ``runs:/<run id>/bart``. A model that is not on this disk is
    downloaded once and kept in the user's cache folder. Raises UserError that names the nearest model or alias.
    """
    if Path(uri).is_dir():
        return _inner(Path(uri), uri)
    kind, _, rest = uri.partition(":/")
    rest = rest.strip("/")
    if kind not in ("models", "runs") or not rest:
        raise UserError(f"There is no model at '{uri}': give {FORMS}.")

    from yoyak.tracking_store import connect, reported

    client = connect()
    with reported():
        location = _of_run(client, rest) if kind == "runs" else _of_registry(client, rest)
        return _inner(_local(location, uri), uri)


def _of_registry(client: MlflowClient, rest: str) -> str:
    """Return where the files of ``name@alias``, ``name/version`` or a logged model's id are."""
    from mlflow.exceptions import MlflowException

    name, at, alias = rest.partition("@")
    if not at:
        name, _, version = rest.partition("/")
        if not version:
            return _of_model(client, name)
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
        return str(client.get_model_version_download_uri(name, version))
    except MlflowException as error:
        known = [str(found.version) for found in client.search_model_versions(f"name = '{name}'")]
        raise UserError(f"The registered model {name} has no version '{version}'{nearest(version, known)}.") from error


def _of_model(client: MlflowClient, model_id: str) -> str:
    """Return where a logged model is; what is no id of one is taken for a name without an alias."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_logged_model(model_id).artifact_location)
    except MlflowException as error:
        if model_id.startswith("m-"):
            raise UserError(f"MLflow has no model with the id '{model_id}': copy it from `mlflow ui`.") from error
        names = [known.name for known in client.search_registered_models()]
        hint = "" if model_id in names else nearest(model_id, names)
        raise UserError(
            f"models:/{model_id}{hint} needs an alias or a version, such as models:/yoyak@champion."
        ) from error


def _of_run(client: MlflowClient, rest: str) -> str:
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
    return str(models[name].artifact_location)


def _local(location: str, uri: str) -> Path:
    """Return the folder at an artifact location, downloaded where it is not on this disk."""
    parsed = urlparse(location)
    if parsed.scheme in ("", "file"):
        folder = Path(url2pathname(parsed.path) if parsed.scheme else location)
        if not folder.is_dir():
            raise UserError(f"The files of {uri} are gone from {folder}: run `dvc repro` to register it again.")
        return folder
    import mlflow.artifacts

    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "yoyak" / "models" / hashlib.md5(location.encode()).hexdigest()
    if not folder.is_dir():
        # A download is what a person waits for: MLflow's own bar, which is off elsewhere, is on here.
        hidden = os.environ.pop(PROGRESS, None)
        try:
            with atomic_path(folder) as work:
                download = work.with_name("download")
                download.mkdir()
                Path(mlflow.artifacts.download_artifacts(artifact_uri=location, dst_path=str(download))).rename(work)
        finally:
            if hidden is not None:
                os.environ[PROGRESS] = hidden
    return folder


def _inner(folder: Path, uri: str) -> Path:
    """Return the Hugging Face folder that is ``folder``, or is within the MLflow model there."""
    from ruamel.yaml import YAML

    if (folder / "config.json").is_file():
        return folder
    if not (folder / "MLmodel").is_file():
        raise UserError(f"There is no model in '{uri}': it has neither config.json nor MLmodel.")
    flavor = YAML(typ="safe").load(folder / "MLmodel").get("flavors", {}).get("python_function", {})
    inside = flavor.get("artifacts", {}).get("model", {}).get("path")
    if not inside or not (folder / inside / "config.json").is_file():
        raise UserError(f"The MLflow model at '{uri}' was not made by Yoyak: it has no Hugging Face model in it.")
    return folder / Path(inside)
