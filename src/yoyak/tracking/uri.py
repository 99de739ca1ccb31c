"""Where MLflow stores runs and models: MLFLOW_TRACKING_URI, or else mlflow.db in the project's folder.

Standard library only, because `yoyak.registry.check` runs before anything heavy is imported. The default is what
`mlflow ui` uses without flags in the project's folder.
"""

from __future__ import annotations

import os
from pathlib import Path

from yoyak.project import project_root

VARIABLE = "MLFLOW_TRACKING_URI"


def tracking_uri() -> str:
    """Return the tracking URI in effect."""
    return os.environ.get(VARIABLE) or f"sqlite:///{project_root() / 'mlflow.db'}"


def sqlite_file(uri: str) -> Path | None:
    """Return the file behind a ``sqlite:///`` URI, or None for any other store and for one in memory."""
    prefix = "sqlite:///"
    name = uri.removeprefix(prefix).partition("?")[0]
    if not uri.startswith(prefix) or name in ("", ":memory:"):
        return None
    return Path(name).absolute()
