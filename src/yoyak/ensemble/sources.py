"""Which models are meant, and what MLflow or their ZIP knows of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

from yoyak.errors import UserError
from yoyak.models.spec import ENSEMBLE_FILE, load_spec

LINEAGE = ("git.commit", "git.dirty", "dvc.models_md5", "member", "restored")
"""Tags of a version, beside those of its inputs, that say what it was made from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model that was named."""

    uri: str
    folder: Path
    about: dict[str, Any] = field(default_factory=dict)
    """``name``, ``version``, ``run_id``, ``model_id``, ``lineage`` and ``scores``, as far as they are known."""
    md5: str = ""
    """Of the folder."""
    place: int = 0
    """Where it stands among those that were named."""

    @property
    def member(self) -> str:
        """The member that it was trained as, whatever its file is called."""
        return load_spec(self.folder).member

    @property
    def dev_score(self) -> float | None:
        """Its combined ROUGE on dev, where the registry or its ZIP knows it."""
        known = self.about.get("scores") or self.about.get("metadata", {}).get("metrics", {})
        value = known.get("dev.combined", known.get("score.dev.combined"))
        return value if isinstance(value, float) and math.isfinite(value) and value >= 0 else None

    @property
    def label(self) -> str:
        """What a person calls it: name and version, else the file's or folder's name."""
        if "name" in self.about:
            return f"{self.about['name']}/{self.about['version']}"
        return Path(self.uri.rstrip("/")).stem if self.uri.endswith(".zip") else self.uri.rstrip("/").rpartition("/")[2]


def every_model(registered: str, folder: Path) -> list[str]:
    """Return the newest version of each registered member, and each ZIP below a folder, hidden folders aside."""
    from yoyak.tracking.client import connect, translate_mlflow_errors

    client = connect()
    with translate_mlflow_errors():
        versions: dict[str, int] = {}
        for known in client.search_model_versions(f"name LIKE '{registered}-%'"):
            versions[known.name] = max(versions.get(known.name, 0), int(known.version))
    found = (path for path in folder.rglob("*.zip") if not any(part.startswith(".") for part in path.parts))
    zips = sorted(path.as_posix() for path in found)
    return [f"models:/{name}/{version}" for name, version in sorted(versions.items())] + zips


def find_sources(uris: Sequence[str]) -> Iterator[tuple[str, Source | str]]:
    """Yield each model, or the sentence that says why it cannot be used."""
    from yoyak.bundles.resolve import resolve_model

    for uri in uris:
        try:
            folder = resolve_model(uri)
            if (folder / ENSEMBLE_FILE).is_file():
                raise UserError("it is an ensemble: name the models that it is made of.")
            load_spec(folder)
            yield uri, Source(uri=uri, folder=folder, about=_about(uri))
        except UserError as error:
            yield uri, str(error)


def _about(uri: str) -> dict[str, Any]:
    if uri.endswith(".zip"):
        return _of_zip(Path(uri))
    kind, _, rest = uri.partition(":/")
    if kind == "models" and not Path(uri).is_dir():
        return _of_version(rest.strip("/"))
    if kind == "runs" and not Path(uri).is_dir():
        return {"run_id": rest.strip("/").partition("/")[0]}
    return {}


def _of_version(rest: str) -> dict[str, Any]:
    from yoyak.tracking.client import connect, translate_mlflow_errors

    client = connect()
    name, at, alias = rest.partition("@")
    if not at:
        name, _, number = rest.partition("/")
        if not number:
            return {"model_id": name}
    with translate_mlflow_errors():
        found = client.get_model_version_by_alias(name, alias) if at else client.get_model_version(name, number)
    tags = {key: value for key, value in found.tags.items() if key in LINEAGE or key.startswith("input.")}
    scores = {}
    for key, value in found.tags.items():
        with suppress(ValueError):
            if key.startswith("score.") and math.isfinite(float(value)):
                scores[key.removeprefix("score.")] = float(value)
    return {
        "name": found.name,
        "version": int(found.version),
        "run_id": found.run_id,
        "model_id": (found.source or "").removeprefix("models:/"),
        "lineage": tags,
        **({"scores": scores} if scores else {}),
    }


def _of_zip(path: Path) -> dict[str, Any]:
    try:
        with ZipFile(path) as file:
            value = json.loads(file.read("metadata.json"))
    except (OSError, BadZipFile, KeyError, ValueError):
        return {}
    return {"metadata": value} if isinstance(value, dict) else {}
