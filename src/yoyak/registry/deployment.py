"""The alias ``serving`` of the registered model: the version that is to answer requests.

It is the exported model's where that has passed its gate, else that of the same model in fp32. Who moved it, when, from
where to where and with which figures is on the version as tags (``alias.serving.who`` … ``alias.serving.gate.passed``).
``champion`` and ``challenger`` stay with models in fp32, which compete by their scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.errors import UserError, nearest
from yoyak.registry.check import RELEASE
from yoyak.registry.versions import (
    SERVING,
    Version,
    add_version,
    aliases_of,
    existing,
    model_names,
    move_aliases,
    to_version,
)
from yoyak.tracking.client import connect, store_lock, translate_mlflow_errors

_BEFORE, _UNDONE = "alias.serving.before", "alias.serving.undone"


def register_version(name: str, *, model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """Return the version of ``name`` that is this model, with these tags and no new alias; made if there is none."""
    client = connect()
    with store_lock(), translate_mlflow_errors():
        return add_version(client, name, model_id, run_id, tags)


def get_version(name: str, version: int) -> Version:
    """Return a version. Raises UserError where there is none."""
    client = connect()
    with translate_mlflow_errors():
        return existing(client, name, version)


def serving_version(name: str) -> Version | None:
    """Return the version that is served, or None where none is."""
    client = connect()
    with translate_mlflow_errors():
        number = aliases_of(client, name).get(SERVING)
        return to_version(client.get_model_version(name, str(number))) if number else None


def serve(version: Version, *, release: str, gate: Mapping[str, Any] | None = None) -> Version:
    """Give a version the alias ``serving``, with the gate's figures, and return it.

    Nothing is moved where it has the alias, or where a person took back that this very release gave it.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        found = existing(client, version.name, version.version)
        before = aliases_of(client, version.name)
        if before.get(SERVING) == found.version or found.tags.get(_UNDONE) == release:
            return found
        if SERVING in before:
            client.set_model_version_tag(found.name, str(found.version), _BEFORE, str(before[SERVING]))
        return move_aliases(client, found, {**before, SERVING: found.version}, gate)


def mark(version: Version, release: str) -> None:
    """Note what was released last, which `registry.check.quick_release_check` looks for; all else is done by then."""
    client = connect()
    with translate_mlflow_errors():
        client.set_model_version_tag(version.name, str(version.version), RELEASE, release)
        client.set_registered_model_tag(version.name, RELEASE, release)


def undo_serving(name: str) -> Version:
    """Take the last move of ``serving`` back and return the version that this brings again.

    The same release does not move it once more; a new one does.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        aliases = aliases_of(client, name)
        if SERVING not in aliases:
            known = model_names(client)
            hint = "" if name in known else nearest(name, known)
            raise UserError(f"{name} has no version that is served{hint}: there is no release to undo.")
        loser = existing(client, name, aliases[SERVING])
        if _BEFORE not in loser.tags:
            raise UserError(f"Version {loser.version} of {name} was the first to be served: nothing was before it.")
        winner = existing(client, name, int(loser.tags[_BEFORE]))
        released = client.get_registered_model(name).tags.get(RELEASE, "")
        client.set_model_version_tag(name, str(loser.version), _UNDONE, released)
        client.delete_model_version_tag(name, str(loser.version), _BEFORE)
        return move_aliases(client, winner, {**aliases, SERVING: winner.version}, None)
