"""metadata.json of a bundle: its run, model and version in the MLflow it comes from, and its lineage."""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yoyak.bundles.json_files import describe_error, read_json_object
from yoyak.errors import UserError
from yoyak.params.base import Name
from yoyak.tracking.stage_run import mlflow_key

IMPORTED = "imported"
"""Tag of an imported run, and prefix of the tags that it has from the training."""

_Text = Annotated[str, Field(max_length=500)]
_Texts = Annotated[dict[_Text, _Text], Field(max_length=100)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class Lineage(_Section):
    """What a model was trained from, wherever that was."""

    run_id: _Text = ""
    git_commit: _Text = ""
    git_dirty: bool | None = None
    inputs: _Texts = {}
    """DVC's md5 of each input, by path."""
    versions: _Texts = {}
    device: _Text = ""
    seed: int | None = None

    @classmethod
    def from_tags(cls, run_id: str, tags: Mapping[str, str]) -> Lineage:
        """Read the tags of a run; of an imported run, those of its training."""
        if tags.get(IMPORTED) == "true":
            tags = _with_prefix(f"{IMPORTED}.", tags)
            run_id = tags.get("run_id", "")
        dirty, seed = tags.get("git.dirty"), tags.get("seed", "")
        return cls(
            run_id=run_id,
            git_commit=tags.get("git.commit", ""),
            git_dirty=None if dirty is None else dirty == "true",
            inputs=_with_prefix("input.", tags),
            versions=_with_prefix("version.", tags),
            device=tags.get("device", ""),
            seed=int(seed) if re.fullmatch("[0-9]{1,20}", seed) else None,
        )

    def tags(self) -> dict[str, str]:
        """Return the tags of an imported run, which `from_tags` reads back; keys that MLflow refuses are left out."""
        tags = {
            "run_id": self.run_id,
            "git.commit": self.git_commit,
            "git.dirty": "" if self.git_dirty is None else str(self.git_dirty).lower(),
            **{f"input.{path}": md5 for path, md5 in self.inputs.items()},
            **{f"version.{package}": version for package, version in self.versions.items()},
            "device": self.device,
            "seed": "" if self.seed is None else str(self.seed),
        }
        return {
            IMPORTED: "true",
            **{f"{IMPORTED}.{key}": value for key, value in tags.items() if value and is_mlflow_key(key)},
        }


class Metadata(_Section):
    """The content of metadata.json."""

    member: Name | None = None
    run_id: _Text | None = None
    model_id: _Text | None = None
    name: _Text | None = None
    """The registered model, if the bundle was written from a version."""
    version: int | None = None
    metrics: Annotated[dict[_Text, float], Field(max_length=1000)] = {}
    """The training's, and as ``score.…`` those that the version was registered with."""
    lineage: Lineage = Lineage()


def is_mlflow_key(key: str) -> bool:
    """Return whether MLflow accepts a key as it is."""
    return len(key) <= 200 and mlflow_key(key) == key and posixpath.normpath(key) == key and not key.startswith("..")


def finite_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return the values that are finite, as numbers."""
    return {key: float(value) for key, value in values.items() if math.isfinite(float(value))}


def read_metadata(path: Path, where: str) -> Metadata:
    """Read metadata.json; if it is missing, all fields are empty."""
    value = read_json_object(path, where) if path.is_file() else {}
    try:
        return Metadata.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{where}: {describe_error(error)}.") from error


def _with_prefix(prefix: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(prefix): value for key, value in tags.items() if key.startswith(prefix)}
