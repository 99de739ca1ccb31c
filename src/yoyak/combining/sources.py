"""The models to combine, and what the registry, a run or a ZIP bundle says about each."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from yoyak.errors import UserError
from yoyak.models.spec import ENSEMBLE_FILE, load_spec
from yoyak.registry.history import SUFFIX

LINEAGE = ("git.commit", "git.dirty", "dvc.models_md5", "member", "restored")
"""Tags of a version, besides those of its inputs, that describe its lineage."""
SCORE, INPUT = "score.", "input."
"""Prefixes of a version's tags for its scores and its inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a model comes from, as far as MLflow or its bundle records it; empty for a folder."""

    name: str | None = None
    """Registered model."""
    version: int | None = None
    run_id: str | None = None
    model_id: str | None = None
    lineage: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A model that was named and can be used."""

    uri: str
    folder: Path
    """Hugging Face folder with yoyak.json."""
    label: str
    """Registered name and version, else the name of its file or folder."""
    origin: Origin
    md5: str = ""
    """MD5 of the folder."""
    index: int = 0
    """Its position among the models that were named."""

    @property
    def member(self) -> str:
        """The member that it was trained as, whatever its file is called."""
        return load_spec(self.folder).member

    @property
    def dev_score(self) -> float | None:
        """Its combined ROUGE on dev, where that is known."""
        score = self.origin.scores.get("dev.combined")
        return score if score is not None and math.isfinite(score) and score >= 0 else None


def list_models(registered: str, folder: Path) -> list[str]:
    """Return the newest version of each registered member, and each ZIP file below a folder that is not hidden."""
    from yoyak.tracking.client import connect, translate_mlflow_errors

    client = connect()
    newest: dict[str, int] = {}
    with translate_mlflow_errors():
        for version in client.search_model_versions(f"name LIKE '{registered}-%'"):
            if not version.name.endswith(SUFFIX):
                newest[version.name] = max(newest.get(version.name, 0), int(version.version))
    bundles = sorted(
        path.as_posix()
        for path in folder.rglob("*.zip")
        if not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    return [f"models:/{name}/{number}" for name, number in sorted(newest.items())] + bundles


def open_sources(uris: Sequence[str]) -> Iterator[tuple[str, Source | UserError]]:
    """Yield each model, or the error that says why it cannot be used."""
    for uri in uris:
        try:
            yield uri, open_source(uri)
        except UserError as error:
            yield uri, error


def open_source(uri: str) -> Source:
    """Return a model that can be used; UserError where there is none, or where it is an ensemble."""
    from yoyak.bundles.resolve import resolve_model

    folder = resolve_model(uri)
    if (folder / ENSEMBLE_FILE).is_file():
        raise UserError("it is an ensemble: name its members.")
    load_spec(folder)
    path = Path(uri)
    if path.is_file():
        return Source(uri=uri, folder=folder, label=path.stem, origin=_bundle_origin(path))
    origin = Origin() if path.is_dir() else _mlflow_origin(uri)
    label = f"{origin.name}/{origin.version}" if origin.name else uri.rstrip("/").rpartition("/")[2]
    return Source(uri=uri, folder=folder, label=label, origin=origin)


def _mlflow_origin(uri: str) -> Origin:
    from yoyak.registry.resolve import locate

    model = locate(uri)
    if model.version is None:
        return Origin(run_id=model.run_id, model_id=model.model_id)
    tags = model.version.tags
    return Origin(
        name=model.version.name,
        version=int(model.version.version),
        run_id=model.run_id,
        model_id=model.model_id,
        lineage={key: value for key, value in tags.items() if key in LINEAGE or key.startswith(INPUT)},
        scores=_scores(tags),
    )


def _bundle_origin(path: Path) -> Origin:
    from yoyak.bundles.archive import open_bundle

    metadata = open_bundle(path).metadata
    lineage = {
        "git.commit": metadata.lineage.git_commit,
        "member": metadata.member or "",
        **{f"{INPUT}{name}": md5 for name, md5 in metadata.lineage.inputs.items()},
    }
    return Origin(
        name=metadata.name,
        version=metadata.version,
        run_id=metadata.run_id,
        model_id=metadata.model_id,
        lineage={key: value for key, value in lineage.items() if value},
        scores=_scores(metadata.metrics),
    )


def _scores(values: Mapping[str, str] | Mapping[str, float]) -> dict[str, float]:
    """Return the scores among tags or metrics; those that are not numbers are left out."""
    scores = {}
    for key, value in values.items():
        with suppress(ValueError):
            if key.startswith(SCORE) and math.isfinite(float(value)):
                scores[key.removeprefix(SCORE)] = float(value)
    return scores
