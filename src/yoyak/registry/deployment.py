"""The alias ``serving`` of the registered model: the version that answers requests.

It is the exported model's if that has passed its gate, else that of the same model in fp32. Who moved it, when, from
where to where and with which figures is on the version as tags (``alias.serving.who`` … ``alias.serving.gate.passed``).
``champion`` and ``challenger`` stay with fp32 models, which compete by their scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.errors import UserError, nearest
from yoyak.registry import versions
from yoyak.registry.check import RELEASE
from yoyak.registry.versions import SERVING, Version, find_by_alias, get_aliases, list_models, move_aliases
from yoyak.tracking.client import connect, store_lock, translate_mlflow_errors

_BEFORE, _UNDONE = "alias.serving.before", "alias.serving.undone"
_REASON = "alias.serving.undone.reason"


def get_version(name: str, version: int) -> Version:
    """Return a version. Raises UserError where there is none."""
    client = connect()
    with translate_mlflow_errors():
        return versions.get_version(client, name, version)


def serving_version(name: str) -> Version | None:
    """Return the version that is served, or None where none is."""
    client = connect()
    with translate_mlflow_errors():
        return find_by_alias(client, name, SERVING)


def serve(version: Version, *, release: str, gate: Mapping[str, Any] | None = None) -> Version:
    """Give a version the alias ``serving``, with the gate's figures, and return it.

    Nothing moves if it has the alias already, or if this release's own move has been undone.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        current = versions.get_version(client, version.name, version.version)
        before = get_aliases(client, version.name)
        if before.get(SERVING) == current.version or current.tags.get(_UNDONE) == release:
            return current
        if SERVING in before:
            client.set_model_version_tag(current.name, str(current.version), _BEFORE, str(before[SERVING]))
        return move_aliases(client, current, {**before, SERVING: current.version}, gate)


def tag_release(version: Version, release: str) -> None:
    """Record what was released last, which `registry.check.is_released` looks for; everything else is done by then."""
    client = connect()
    with translate_mlflow_errors():
        client.set_model_version_tag(version.name, str(version.version), RELEASE, release)
        client.set_registered_model_tag(version.name, RELEASE, release)


def undo_serving(name: str, *, reason: str = "") -> Version:
    """Undo the last move of ``serving`` and return the version that is served again.

    The same release does not move it once more; a new one does. ``reason`` is kept on the version that is undone.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        aliases = get_aliases(client, name)
        if SERVING not in aliases:
            names = list_models(client)
            hint = "" if name in names else nearest(name, names)
            raise UserError(f"No version of {name} is served{hint}: there is no release to undo.")
        current = versions.get_version(client, name, aliases[SERVING])
        if _BEFORE not in current.tags:
            raise UserError(f"Version {current.version} of {name} was the first to be served: there is no earlier one.")
        earlier = versions.get_version(client, name, current.tags[_BEFORE])
        released = client.get_registered_model(name).tags.get(RELEASE, "")
        client.set_model_version_tag(name, str(current.version), _UNDONE, released)
        client.delete_model_version_tag(name, str(current.version), _BEFORE)
        if reason:
            client.set_model_version_tag(name, str(current.version), _REASON, reason)
        return move_aliases(client, earlier, {**aliases, SERVING: earlier.version}, None)
