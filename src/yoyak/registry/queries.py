"""Looking up what the registry has: a small Python API, which `yoyak models` prints.

    from yoyak.registry import queries

    for version in queries.best("combined", "test", limit=3):
        print(version.label, version.score("combined", "test"))
    champion = queries.get_info("yoyak@champion")

All versions and their scores come in a few requests, however many there are. A version that somebody else registered,
without our tags, is found like any other; it just has no scores. `registry.comparing` sets several side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from yoyak.errors import UserError, nearest
from yoyak.registry.history import SUFFIX, read_history
from yoyak.registry.versions import check_model, get_version, iter_models, iter_versions, resolve_alias, to_version
from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.decisions import Entry

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

METRIC, SPLIT = "combined", "dev"
"""What versions are ordered by unless said otherwise."""
_SCORE = "score."


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionInfo:
    """Everything that the registry itself says of a version. What is not known is empty."""

    name: str
    version: int
    aliases: tuple[str, ...]
    member: str
    """The member of params.yaml, or the ensemble's strategy."""
    architecture: str
    """Such as ``bart``; for an ensemble, its type of strategy."""
    variant: str
    """``fp32``, ``int8``, ``ensemble`` …"""
    scores: Mapping[str, Mapping[str, float]]
    """Means over dialogues by split and metric."""
    created: str
    """ISO 8601, UTC."""
    commit: str
    dirty: bool
    """Whether files differed from the commit."""
    experiment: str
    """Where it comes from if not from a commit, such as ``the experiment wide``."""
    identity: str
    """Digest of the weights, of how they write and of the code that runs them."""
    data: str
    """DVC's md5 of the prepared data. Scores on other data are not comparable."""
    model_id: str
    run_id: str
    description: str
    tags: Mapping[str, str]

    @property
    def uri(self) -> str:
        return f"models:/{self.name}/{self.version}"

    @property
    def label(self) -> str:
        """Short and unambiguous: ``yoyak/3``."""
        return f"{self.name}/{self.version}"

    def score(self, metric: str = METRIC, split: str = SPLIT) -> float | None:
        """Return one score; None if the version has none."""
        return self.scores.get(split, {}).get(metric)


def find_versions(
    name: str | None = None,
    *,
    architecture: str | None = None,
    member: str | None = None,
    min_score: float | None = None,
    metric: str = METRIC,
    split: str = SPLIT,
    limit: int | None = None,
) -> list[VersionInfo]:
    """Return the versions of one registered model, or of all of them, best first; those without the score come last.

    Args:
        name: A registered model.
        architecture: Only versions of this architecture, such as ``bart``.
        member: Only versions of this member or ensemble.
        min_score: Only versions whose score is at least this.
        metric: The score that orders them.
        split: The split that it was computed on.
        limit: At most so many.

    Raises:
        UserError: No version has that name, architecture, member or score; the nearest one is named.
    """
    client = connect()
    with translate_mlflow_errors():
        aliases = {model.name: model.aliases for model in iter_models(client)}
        if name is not None:
            check_model(name, aliases)
        versions = [
            _to_info(version, aliases=_aliases_of(version, aliases.get(version.name, {})))
            for version in iter_versions(client, name)
            if name is not None or not _is_history(version.name, aliases)
        ]

    def value(version: VersionInfo) -> float:
        score = version.score(metric, split)
        return -math.inf if score is None else score

    _check_known("architecture", architecture, {version.architecture for version in versions})
    _check_known("member", member, {version.member for version in versions})
    _check_score(metric, split, versions)
    versions = [
        version
        for version in versions
        if (architecture is None or version.architecture == architecture)
        and (member is None or version.member == member)
        and (min_score is None or value(version) >= min_score)
    ]

    def order(version: VersionInfo) -> tuple[float, str, int]:
        return -value(version), version.name, -version.version

    return sorted(versions, key=order)[:limit]


def best(metric: str = METRIC, split: str = SPLIT, limit: int = 1, *, name: str | None = None) -> list[VersionInfo]:
    """Return the versions with the highest scores; those without one are left out."""
    versions = find_versions(name, metric=metric, split=split)
    return [version for version in versions if version.score(metric, split) is not None][:limit]


def versions_of(name: str) -> list[VersionInfo]:
    """Return all versions of a registered model, oldest first."""
    return sorted(find_versions(name), key=lambda version: version.version)


def get_info(model: str) -> VersionInfo:
    """Return what the registry says of one version, such as ``yoyak@champion`` or ``models:/yoyak/3``."""
    name, at, last = split_uri(model)
    client = connect()
    with translate_mlflow_errors():
        version = resolve_alias(client, name, last) if at == "@" else get_version(client, name, last)
        return _to_info(client.get_model_version(version.name, str(version.version)), aliases=version.aliases)


def history(name: str) -> list[Entry]:
    """Return every decision about the champion of a registered model, oldest first."""
    client = connect()
    with translate_mlflow_errors():
        entries = read_history(client, name)
        names = [] if entries else [model.name for model in iter_models(client)]
        if names:
            check_model(name, names)
        return entries


def split_uri(model: str) -> tuple[str, str, str]:
    """Return the name, ``@`` or ``/``, and the alias or version. Raises UserError for what names no version."""
    path = model.removeprefix("models:").strip("/")
    for separator in ("@", "/"):
        name, found, last = path.partition(separator)
        if found and name and last and ":" not in path:
            return name, separator, last
    raise UserError(f"'{model}' does not name a registered version: give one such as yoyak@champion or yoyak/3.")


def complete_uri(model: str, name: str) -> str:
    """Return the URI of a version that may be given as an alias or number of the registered model ``name``."""
    if model.isdecimal():
        return f"models:/{name}/{model}"
    if not set(model) & set("@/:"):
        return f"models:/{name}@{model}"
    name, separator, last = split_uri(model)
    return f"models:/{name}{separator}{last}"


def _to_info(version: ModelVersion, aliases: tuple[str, ...]) -> VersionInfo:
    tags: dict[str, str] = dict(version.tags)
    commit = tags.get("git.commit", "")
    own = to_version(version)
    return VersionInfo(
        name=own.name,
        version=own.version,
        aliases=tuple(sorted(aliases)),
        member=tags.get("member") or tags.get("strategy", ""),
        architecture=tags.get("architecture") or tags.get("strategy", ""),
        variant=tags.get("variant", ""),
        scores=_read_scores(tags),
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        commit="" if commit == "none" else commit,
        dirty=tags.get("git.dirty") == "true",
        experiment=tags.get("yoyak.experiment", ""),
        identity=tags.get("yoyak.identity", ""),
        data=tags.get("input.prepared", ""),
        model_id=own.model_id,
        run_id=own.run_id,
        description=version.description or "",
        tags=tags,
    )


def _read_scores(tags: Mapping[str, str]) -> dict[str, dict[str, float]]:
    scores: dict[str, dict[str, float]] = {}
    for key, value in tags.items():
        split, _, metric = key.removeprefix(_SCORE).partition(".")
        if key.startswith(_SCORE) and metric:
            try:
                number = float(value)
            except ValueError:
                continue
            if math.isfinite(number):
                scores.setdefault(split, {})[metric] = number
    return scores


def _aliases_of(version: ModelVersion, aliases: Mapping[str, str]) -> tuple[str, ...]:
    """Return the aliases of a version; MLflow's search leaves them out."""
    return tuple(alias for alias, number in aliases.items() if int(number) == int(version.version))


def _is_history(name: str, models: Mapping[str, object]) -> bool:
    return name.endswith(SUFFIX) and name.removesuffix(SUFFIX) in models


def _check_known(kind: str, value: str | None, known: set[str]) -> None:
    if value is not None and known and value not in known:
        raise UserError(f"No version has the {kind} '{value}'{nearest(value, known - {''})}.")


def _check_score(metric: str, split: str, versions: list[VersionInfo]) -> None:
    known = set(_score_names(versions))
    if known and f"{split}.{metric}" not in known:
        splits = {name.partition(".")[0] for name in known}
        if split not in splits:
            raise UserError(f"No version has scores on the split '{split}'{nearest(split, splits)}.")
        metrics = {name.partition(".")[2] for name in known if name.startswith(f"{split}.")}
        raise UserError(f"No version has the score '{metric}' on {split}{nearest(metric, metrics)}.")


def _score_names(versions: list[VersionInfo]) -> Iterator[str]:
    for version in versions:
        for split, scores in version.scores.items():
            yield from (f"{split}.{metric}" for metric in scores)
