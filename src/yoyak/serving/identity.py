"""How each answer names the model that gave it: headers that uvicorn adds."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

MODEL_HEADER, VERSION_HEADER = "X-Yoyak-Model", "X-Yoyak-Version"
"""Headers of every answer: the model, percent-encoded if necessary, and its version if it is a registered one."""
HEADERS_VARIABLE = "UVICORN_HEADERS"
"""The environment variable of uvicorn's option --header: ``Name:value`` pairs, separated by spaces."""


def model_headers(model: str, version: int | str | None) -> dict[str, str]:
    """Return the headers for a model."""
    return {MODEL_HEADER: quote(model)} | ({} if version is None else {VERSION_HEADER: str(version)})


def registered_headers(folder: Path) -> dict[str, str]:
    """Return the headers for an MLflow model in a folder: none unless MLflow fetched it as a registered version.

    MLflow notes the version in the folder, and gives a server nothing else to know it by.
    """
    from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
    from mlflow.utils.yaml_utils import read_yaml

    if not (folder / REGISTERED_MODEL_META_FILE_NAME).is_file():
        return {}
    noted = read_yaml(str(folder), REGISTERED_MODEL_META_FILE_NAME)
    return model_headers(noted["model_name"], noted["model_version"])
