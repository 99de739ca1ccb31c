"""Where the project is, and where its pipeline keeps what it reads and writes."""

from __future__ import annotations

import os
from pathlib import Path

MARKERS = ("dvc.yaml", "params.yaml")

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
