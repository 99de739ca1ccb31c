"""What every module of the registry does with MLflow: find, make and tag a version, move aliases.

It is for `registry` and `registry_serving`, which say what is to be done; nothing else writes the registry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yoyak.errors import UserError, nearest
from yoyak.tracking import lineage
from yoyak.tracking.stage_run import flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS, ENSEMBLE, SERVING = "champion", "challenger", "previous", "ensemble", "serving"


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered model."""

    name: str
    version: int
    model_id: str
    run_id: str
    tags: Mapping[str, str]
    aliases: tuple[str, ...]

    @property
    def uri(self) -> str:
        """What `mlflow models serve -m` and `yoyak summarize` take."""
        return f"models:/{self.name}/{self.version}"


def add_version(client: MlflowClient, name: str, model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """Return the version that is this model, with these tags; made, with the commit as tags too, if there is none."""
    from mlflow.exceptions import MlflowException

    source = f"models:/{model_id}"
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    known = client.search_model_versions(f"name = '{name}' AND source_path = '{source}'", max_results=1)
    if not known:
        git = lineage.git()
        state = {"git.commit": git.commit or "none", "git.dirty": str(git.dirty).lower()}
        made = client.create_model_version(name, source, run_id, tags={**state, **tags}, model_id=model_id)
        _link(client, model_id, name, made.version)
        return to_version(made)
    for key, value in tags.items():
        if known[0].tags.get(key) != value:
            client.set_model_version_tag(name, known[0].version, key, value)
    return to_version(client.get_model_version(name, known[0].version))


def _link(client: MlflowClient, model_id: str, name: str, version: str) -> None:
    """Let MLflow's page of the model show the version, as `mlflow.register_model` does (which writes to stderr)."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    shown = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    links = json.dumps([*shown, {"name": name, "version": version}])
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: links})


def move_aliases(
    client: MlflowClient, version: Version, after: Mapping[str, int], gate: Mapping[str, Any] | None
) -> Version:
    """Bring the aliases to ``after`` and tag each version that gains one; the figures ``gate`` belong to ``version``.

    The tags come first: a move that breaks off in the middle is then told by the tags, and can be made again.
    """
    name, before = version.name, aliases_of(client, version.name)
    changed = {alias: number for alias, number in after.items() if before.get(alias) != number}
    for alias, number in changed.items():
        facts = {
            "who": lineage.person(),
            "when": now(),
            "from": str(before.get(alias, "none")),
            "to": str(number),
            "commit": lineage.git().commit or "none",
        }
        if gate is not None and number == version.version:
            facts |= {f"gate.{key}": value for key, value in flatten(gate).items()}
        for key, value in facts.items():
            client.set_model_version_tag(name, str(number), f"alias.{alias}.{key}", value)
    for alias in sorted(changed, key=CHAMPION.__eq__):
        client.set_registered_model_alias(name, alias, str(after[alias]))
    for alias in (CHALLENGER, PREVIOUS):
        if alias in before and alias not in after:
            client.delete_registered_model_alias(name, alias)
    return to_version(client.get_model_version(name, str(version.version)))


def existing(client: MlflowClient, name: str, version: int) -> Version:
    """Return a version; UserError that names the nearest one where there is none."""
    from mlflow.exceptions import MlflowException

    try:
        return to_version(client.get_model_version(name, str(version)))
    except MlflowException as error:
        if name not in (known := model_names(client)):
            raise UserError(f"No registered model is named '{name}'{nearest(name, known)}.") from error
        numbers = [str(found.version) for found in client.search_model_versions(f"name = '{name}'")]
        raise UserError(f"{name} has no version {version}{nearest(str(version), numbers)}.") from error


def model_names(client: MlflowClient) -> list[str]:
    """Return the names of all registered models."""
    return [model.name for model in client.search_registered_models()]


def aliases_of(client: MlflowClient, name: str) -> dict[str, int]:
    """Return the version behind each alias; none for a model that does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def to_version(found: ModelVersion) -> Version:
    """Return MLflow's version as ours."""
    return Version(
        name=found.name,
        version=int(found.version),
        model_id=(found.source or "").removeprefix("models:/"),
        run_id=found.run_id or "",
        tags=found.tags,
        aliases=tuple(found.aliases),
    )


def now() -> str:
    """Return the time as tags have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
