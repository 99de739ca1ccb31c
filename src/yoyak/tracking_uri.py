"""Where MLflow keeps runs and models: what MLFLOW_TRACKING_URI says, else mlflow.db in the project's folder.

Standard library only, because `yoyak.registry_check` asks before anything heavy is imported. The default is the
one that `mlflow ui` takes in the project's folder when it is given no flags.
"""

from __future__ import annotations

import os
from pathlib import Path

MARKERS = ("dvc.yaml", "params.yaml")
VARIABLE = "MLFLOW_TRACKING_URI"

_EXPERIMENTS = (".dvc", "tmp", "exps")


def project_root(start: str | os.PathLike[str] | None = None) -> Path:
    """Return the nearest folder at or above ``start`` (default: here) with dvc.yaml or params.yaml, else ``start``.

    Queued and temporary DVC experiments run in a copy below ``.dvc/tmp/exps`` that is removed afterwards; there the
    answer is the project that they belong to, so that their runs stay.
    """
    here = Path(start or ".").resolve()
    root = next((folder for folder in (here, *here.parents) if any((folder / name).exists() for name in MARKERS)), here)
    parts = root.parts
    for index in range(len(parts) - len(_EXPERIMENTS)):
        if parts[index : index + len(_EXPERIMENTS)] == _EXPERIMENTS:
            return Path(*parts[:index])
    return root


def tracking_uri() -> str:
    """Return the tracking URI in force."""
    return os.environ.get(VARIABLE) or f"sqlite:///{project_root() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """Return the file behind a ``sqlite:///`` URI, or None for any other store and for one in memory."""
    prefix = "sqlite:///"
    name = uri.removeprefix(prefix).partition("?")[0]
    if not uri.startswith(prefix) or name in ("", ":memory:"):
        return None
    return Path(name).absolute()
