"""Versions and aliases of registered models: looking them up, adding a version, moving aliases.

`promotion` and `deployment` decide what is to be done; nothing else writes to the registry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yoyak.errors import UserError, nearest
from yoyak.tracking import lineage
from yoyak.tracking.stage_run import flatten, mlflow_key

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

CHAMPION, CHALLENGER, PREVIOUS, ENSEMBLE, SERVING = "champion", "challenger", "previous", "ensemble", "serving"
_PAGE = 1000
"""Results per request, the most that MLflow allows for registered models."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered model."""

    name: str
    version: int
    model_id: str
    """Id of the logged model that it is; empty for a version that was registered from a path."""
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]

    @property
    def uri(self) -> str:
        """What `mlflow models serve -m` and `yoyak summarize` take."""
        return f"models:/{self.name}/{self.version}"

    @property
    def label(self) -> str:
        """Name, version and aliases, as they are printed."""
        aliases = f" ({', '.join(sorted(self.aliases))})" if self.aliases else ""
        return f"{self.name} version {self.version}{aliases}"


def list_models(client: MlflowClient) -> list[str]:
    """Return the names of all registered models."""
    return [model.name for model in iter_models(client)]


def iter_models(client: MlflowClient) -> Iterator[RegisteredModel]:
    """Yield all registered models, with their aliases, page by page."""
    token: str | None = None
    while True:
        page = client.search_registered_models(max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def iter_versions(client: MlflowClient, name: str | None = None) -> Iterator[ModelVersion]:
    """Yield all versions of a registered model, or of all of them, page by page; none for one that does not exist.

    They are without their aliases.
    """
    query = f"name = '{name}'" if name else None
    token: str | None = None
    while True:
        page = client.search_model_versions(query, max_results=_PAGE, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


def get_aliases(client: MlflowClient, name: str) -> dict[str, int]:
    """Return the version behind each alias; none for a model that does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def resolve_alias(client: MlflowClient, name: str, alias: str) -> Version:
    """Return the version behind an alias; UserError that names the nearest model or alias where there is none."""
    aliases = get_aliases(client, name)
    if alias not in aliases:
        check_model(name, list_models(client))
        raise UserError(f"The registered model {name} has no alias '{alias}'{nearest(alias, aliases)}.")
    return get_version(client, name, aliases[alias])


def find_by_alias(client: MlflowClient, name: str, alias: str) -> Version | None:
    """Return the version behind an alias, or None where there is no such model or alias."""
    version = get_aliases(client, name).get(alias)
    return get_version(client, name, version) if version else None


def get_version(client: MlflowClient, name: str, version: int | str) -> Version:
    """Return a version; UserError that names the nearest model or version where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return to_version(client.get_model_version(name, str(version)))
    except MlflowException as error:
        if error.error_code not in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise
        check_model(name, list_models(client))
        existing = [str(match.version) for match in client.search_model_versions(f"name = '{name}'")]
        hint = nearest(str(version), existing)
        raise UserError(f"The registered model {name} has no version '{version}'{hint}.") from error


def add_version(
    client: MlflowClient,
    name: str,
    model_id: str,
    run_id: str,
    tags: Mapping[str, str],
    initial_tags: Mapping[str, str] | None = None,
) -> Version:
    """Return the version that is this model, with these tags.

    A new version is created if there is none yet; it has ``initial_tags`` and the commit as tags too.
    """
    from mlflow.exceptions import MlflowException

    source = f"models:/{model_id}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    existing = client.search_model_versions(f"name = '{name}' AND source_path = '{source}'", max_results=1)
    if not existing:
        every_tag = {**commit_tags(), **(initial_tags or {}), **tags}
        created = client.create_model_version(name, source, run_id, tags=every_tag, model_id=model_id)
        _link_to_model(client, model_id, name, created.version)
        return to_version(created)
    for key, value in tags.items():
        if existing[0].tags.get(key) != value:
            client.set_model_version_tag(name, existing[0].version, key, value)
    return to_version(client.get_model_version(name, existing[0].version))


def commit_tags() -> dict[str, str]:
    """Return the tags that say which commit is checked out."""
    git = lineage.git()
    return {"git.commit": git.commit or "none", "git.dirty": str(git.dirty).lower()}


def move_aliases(
    client: MlflowClient, version: Version, after: Mapping[str, int], figures: Mapping[str, Any] | None
) -> Version:
    """Bring all aliases but ``champion`` to ``after``, and tag each version that gains one.

    ``figures`` of a gate belong to ``version``. ``champion`` is moved by `history.move_champion` only. The tags come
    first, so that a move that is interrupted shows in the tags and can be repeated. A ``challenger`` or ``previous``
    that ``after`` lacks is removed.
    """
    name, before = version.name, get_aliases(client, version.name)
    for alias, number in after.items():
        if alias == CHAMPION or before.get(alias) == number:
            continue
        tag_move(client, name, alias, before.get(alias), number, figures if number == version.version else None)
        client.set_registered_model_alias(name, alias, str(number))
    for alias in (CHALLENGER, PREVIOUS):
        if alias in before and alias not in after:
            client.delete_registered_model_alias(name, alias)
    return to_version(client.get_model_version(name, str(version.version)))


def tag_move(
    client: MlflowClient, name: str, alias: str, source: int | None, target: int, figures: Mapping[str, Any] | None
) -> None:
    """Record on a version who gave it an alias, when, and with which figures of a gate."""
    tags = {
        "who": lineage.current_user(),
        "when": timestamp(),
        "from": str(source or "none"),
        "to": str(target),
        "commit": lineage.git().commit or "none",
    }
    if figures is not None:
        tags |= {f"gate.{_tag_key(key)}": value for key, value in flatten(figures).items()}
    for key, value in tags.items():
        client.set_model_version_tag(name, str(target), f"alias.{alias}.{key}", value)


def to_version(version: ModelVersion) -> Version:
    """Convert MLflow's version to ours."""
    source = version.source or ""
    return Version(
        name=version.name,
        version=int(version.version),
        model_id=source.removeprefix("models:/") if source.startswith("models:/m-") else "",
        run_id=version.run_id or "",
        tags=version.tags,
        aliases=tuple(version.aliases),
    )


def timestamp() -> str:
    """Return the current time as it is written in tags."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def check_model(name: str, names: Iterable[str]) -> None:
    """Raise UserError that names the nearest registered model if ``name`` is none of them."""
    known = list(names)
    if name not in known:
        raise UserError(f"No registered model is named '{name}'{nearest(name, known)}.")


def _tag_key(name: str) -> str:
    """Return the name of a figure as MLflow accepts it in a tag's key: names of slices come from the data."""
    return mlflow_key(name).replace("/", "_")[:200]


def _link_to_model(client: MlflowClient, model_id: str, name: str, version: str) -> None:
    """Show the version on MLflow's page of the model, as `mlflow.register_model` does (which writes to stderr)."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    links = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    links.append({"name": name, "version": version})
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(links)})
