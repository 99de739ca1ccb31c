"""From the name of a model, in any of its forms, to its Hugging Face folder on this disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from yoyak.errors import UserError, nearest
from yoyak.files import cache_folder, cached_folder
from yoyak.models.manifest import TAG, check_manifest
from yoyak.models.spec import ENSEMBLE_FILE, ONNX_FILE, SPEC_FILE
from yoyak.registry.versions import Version, get_version, list_models, resolve_alias

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import LoggedModel

PROGRESS = "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"
FORMS = "a folder, models:/<name>@<alias>, models:/<name>/<version>, runs:/<run id>/<model's name> or a bundle's .zip"
"""How a model can be named."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LocatedModel:
    """A model in MLflow: the location of its files, and its ids."""

    uri: str
    location: str
    """Location of its artifacts."""
    model_id: str | None
    run_id: str | None
    version: Version | None = None
    """The registered version, if that is what was asked for."""


def resolve_model(uri: str) -> Path:
    """Return the folder with the model's config.json, weights and tokenizer.

    ``uri`` is a folder (of a member, or of an MLflow model) or one of MLflow's URIs: ``models:/yoyak@champion``,
    ``models:/yoyak-bart/3``, ``models:/m-<id>``, ``runs:/<run id>/bart``. A model that is not on this disk is
    downloaded once and kept in the user's cache folder. Raises UserError that names the nearest model or alias.
    """
    if Path(uri).is_dir():
        check_manifest(Path(uri), None, where=uri, remedy="copy it again, or restore its files")
        return find_model_folder(Path(uri), uri)
    return fetch_model(locate(uri))


def locate(uri: str) -> LocatedModel:
    """Return where MLflow has the model of one of its URIs; UserError that names the nearest model or alias."""
    scheme, _, path = uri.partition(":/")
    path = path.strip("/")
    if scheme not in ("models", "runs") or not path:
        raise UserError(f"There is no model at '{uri}': give {FORMS}.")

    from yoyak.tracking.client import connect, translate_mlflow_errors

    client = connect()
    with translate_mlflow_errors():
        return _locate_in_run(client, path, uri) if scheme == "runs" else _locate_in_registry(client, path, uri)


def registered_digest(model: LocatedModel) -> str | None:
    """Return what MLflow's database says is the digest of a model's files; None of a model of an older Yoyak."""
    from yoyak.tracking.client import connect, translate_mlflow_errors

    if model.model_id is None:
        return None
    with translate_mlflow_errors():
        return connect().get_logged_model(model.model_id).tags.get(TAG)


def fetch_mlflow_folder(model: LocatedModel) -> Path:
    """Return MLflow's own folder of a model, the one with MLmodel, downloaded if it is not on this disk.

    Raises UserError if its files are not those that were logged (`models.manifest`).
    """
    from yoyak.tracking.client import translate_mlflow_errors

    digest = registered_digest(model)
    with translate_mlflow_errors():
        return _fetch(
            model.location,
            model.uri,
            lambda folder, remedy: check_manifest(folder, digest, where=model.uri, remedy=remedy),
        )


def fetch_model(model: LocatedModel) -> Path:
    """Return the Hugging Face folder of a model in MLflow, downloaded if it is not on this disk.

    Raises UserError if its files are not those that were logged (`models.manifest`).
    """
    return find_model_folder(fetch_mlflow_folder(model), model.uri)


def fetch_unchecked(model: LocatedModel) -> Path:
    """Return the Hugging Face folder of a model in MLflow for finding out what is wrong with it."""
    from yoyak.tracking.client import translate_mlflow_errors

    with translate_mlflow_errors():
        return find_model_folder(_fetch(model.location, model.uri, lambda folder, remedy: None), model.uri)


def _locate_in_registry(client: MlflowClient, path: str, uri: str) -> LocatedModel:
    """Return the model of ``name@alias``, ``name/version`` or a logged model's id."""
    name, at, alias = path.partition("@")
    if at:
        version = resolve_alias(client, name, alias)
    else:
        name, slash, number = path.partition("/")
        if not slash:
            return _locate_by_id(client, name, uri)
        version = get_version(client, name, number)
    return LocatedModel(
        uri=uri,
        location=str(client.get_model_version_download_uri(name, str(version.version))),
        model_id=version.model_id or None,
        run_id=version.run_id or None,
        version=version,
    )


def _locate_by_id(client: MlflowClient, model_id: str, uri: str) -> LocatedModel:
    """Return a logged model; what is not the id of one is taken for a name without an alias."""
    from mlflow.exceptions import MlflowException

    try:
        return _locate_logged(client.get_logged_model(model_id), uri)
    except MlflowException as error:
        if model_id.startswith("m-"):
            raise UserError(f"MLflow has no model with the id '{model_id}': copy it from `mlflow ui`.") from error
        names = list_models(client)
        hint = "" if model_id in names else nearest(model_id, names)
        raise UserError(
            f"models:/{model_id}{hint} needs an alias or a version, such as models:/yoyak@champion."
        ) from error


def _locate_in_run(client: MlflowClient, path: str, uri: str) -> LocatedModel:
    from mlflow.exceptions import MlflowException

    run_id, _, name = path.partition("/")
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        raise UserError(f"MLflow has no run '{run_id}': copy the run's id from `mlflow ui`.") from error
    outputs = run.outputs.model_outputs if run.outputs else []
    models = {model.name: model for model in (client.get_logged_model(output.model_id) for output in outputs)}
    if not name and len(models) == 1:
        name = next(iter(models))
    if name not in models:
        raise UserError(f"The run {run_id} logged no model named '{name}'{nearest(name, models)}.")
    return _locate_logged(models[name], uri)


def _locate_logged(model: LoggedModel, uri: str) -> LocatedModel:
    return LocatedModel(
        uri=uri,
        location=str(model.artifact_location),
        model_id=model.model_id,
        run_id=model.source_run_id or None,
    )


def _fetch(location: str, uri: str, check: Callable[[Path, str], None]) -> Path:
    """Return the folder at an artifact location, downloaded if it is not on this disk.

    ``check`` raises UserError for a folder with wrong files; it is told what a person should do then. A download that
    is wrong is not kept.
    """
    parsed = urlparse(location)
    if parsed.scheme in ("", "file"):
        folder = Path(url2pathname(parsed.path) if parsed.scheme else location)
        if not folder.is_dir():
            raise UserError(f"The files of {uri} are gone from {folder}: run `dvc repro` to register it again.")
        check(
            folder,
            f"restore the files in {folder}, or delete that folder and run `dvc repro`, which registers it again",
        )
        return folder
    folder = cache_folder() / "models" / hashlib.sha256(location.encode()).hexdigest()

    def download(work: Path) -> None:
        _download(location, work)
        check(work, "the artifact store was damaged or changed, so restore it from a backup")

    existed = folder.is_dir()
    cached_folder(folder, download)
    if existed:
        check(folder, f"delete {folder}, and it is downloaded again")
    return folder


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


def find_model_folder(folder: Path, uri: str) -> Path:
    """Return ``folder`` if it is a model's or an ensemble's, else the one within the MLflow model there."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if _is_model(folder):
        return folder
    if not (folder / "MLmodel").is_file():
        raise UserError(f"There is no model in '{uri}': it has neither config.json nor MLmodel.")
    try:
        flavor = YAML(typ="safe", pure=True).load(folder / "MLmodel")["flavors"]["python_function"]
        inside = flavor.get("artifacts", {}).get("model", {}).get("path")
    except (YAMLError, KeyError, TypeError, AttributeError):
        inside = None
    if not inside or not _is_model(folder / inside):
        raise UserError(f"The MLflow model at '{uri}' is not one of Yoyak's: it contains no Hugging Face model.")
    return folder / Path(inside)


def _is_model(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", SPEC_FILE, ENSEMBLE_FILE, ONNX_FILE))
