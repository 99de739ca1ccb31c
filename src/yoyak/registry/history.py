"""The history of a registered model's champion: an append-only log that also decides races.

Each move of the alias ``champion`` is a version of the registered model ``<name>-history``, whose tags say what was
decided, by whom, when and why. MLflow's database numbers versions one by one, and MLflow has no other operation that
fails if somebody was faster. An entry names the last one that its author had seen (``after``): of several entries
that name the same one, only the first counts. So one of two simultaneous promotions wins, on one host or on two, and
the log has both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from yoyak.errors import UserError
from yoyak.params.schema import HISTORY
from yoyak.registry.versions import CHAMPION, get_aliases, iter_versions, list_models, timestamp
from yoyak.tracking import lineage
from yoyak.tracking.decisions import Action, Entry

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

SUFFIX = f"-{HISTORY}"
_ATTEMPTS = 20
_MAX_VERDICT = 4900
_FIRST = "champion.first"
"""Tag of a version that became champion where there was none: who did that, when, and at which commit."""


def history_name(name: str) -> str:
    """Return the name of the registered model that holds the history of another."""
    return f"{name}{SUFFIX}"


def read_history(client: MlflowClient, name: str) -> list[Entry]:
    """Return all entries of a registered model's history, oldest first; number 0 is the first champion."""
    return [*_first_champion(client, name), *read_log(client, name)]


def read_log(client: MlflowClient, name: str) -> list[Entry]:
    """Return the decisions about a registered model's champion, oldest first."""
    entries = sorted((_from_version(version) for version in iter_versions(client, history_name(name))), key=_number)
    return list(_validate(entries))


def set_first_champion(client: MlflowClient, name: str, target: int, reason: str = "") -> bool:
    """Give the alias ``champion`` to a version where there is none, and return whether it has it afterwards.

    This decides nothing, so it is not in the log, which is created with the first decision.
    """
    record = {
        "who": lineage.current_user(),
        "when": timestamp(),
        "commit": lineage.git().commit or "none",
        "reason": reason,
    }
    client.set_model_version_tag(name, str(target), _FIRST, json.dumps(record))
    client.set_registered_model_alias(name, CHAMPION, str(target))
    return get_aliases(client, name).get(CHAMPION) == target


def last_number(entries: Iterable[Entry]) -> int:
    """Return the number of the last valid entry; 0 for none."""
    return max((entry.number for entry in entries if entry.valid), default=0)


def move_champion(
    client: MlflowClient,
    name: str,
    *,
    after: int,
    source: int,
    target: int,
    action: Action,
    reason: str = "",
    verdict: Mapping[str, Any] | None = None,
) -> Entry:
    """Append a decision and move the alias ``champion`` from version ``source`` to ``target``.

    Raises UserError, and moves nothing, if another decision came after the entry ``after``, or if ``source`` is not
    the champion any more because somebody moved the alias by hand.
    """
    _check_champion(client, name, source, target)
    number = _append(
        client,
        name,
        target,
        {
            "after": str(after),
            "action": action,
            "from": str(source),
            "to": str(target),
            "who": lineage.current_user(),
            "when": timestamp(),
            "commit": lineage.git().commit or "none",
            "reason": reason,
            **({"verdict": _dump_verdict(verdict)} if verdict else {}),
        },
    )
    entries = read_log(client, name)
    own = next(entry for entry in entries if entry.number == number)
    if not own.valid:
        winner = next(entry for entry in entries if entry.valid and entry.after == after)
        client.set_model_version_tag(history_name(name), str(number), "lost_to", str(winner.number))
        raise UserError(
            f"Version {target} of {name} was not made champion: {winner.who} made version {winner.target} champion at "
            f"{winner.when}, so the decision about version {target} no longer holds. Run the command again."
        )
    settle(client, name)
    return own


def settle(client: MlflowClient, name: str) -> None:
    """Let ``champion`` point to the version that the last valid entry says.

    Whoever moves the alias reads the log again afterwards: a slower process cannot leave an older decision standing.
    """
    for _ in range(_ATTEMPTS):
        latest = max((entry for entry in read_log(client, name) if entry.valid), key=_number)
        if get_aliases(client, name).get(CHAMPION) == latest.target:
            return
        client.set_registered_model_alias(name, CHAMPION, str(latest.target))
    raise UserError(f"The alias {CHAMPION} of {name} is being moved by others all the time: try again later.")


def _first_champion(client: MlflowClient, name: str) -> list[Entry]:
    records = [
        (json.loads(version.tags[_FIRST]), int(version.version))
        for version in iter_versions(client, name)
        if _FIRST in version.tags
    ]
    return [
        Entry(number=0, after=0, action="first", source=0, target=number, **{"reason": "", **record})
        for record, number in sorted(records, key=lambda record: record[0]["when"])
    ]


def _check_champion(client: MlflowClient, name: str, source: int, target: int) -> None:
    current = get_aliases(client, name).get(CHAMPION, 0)
    if current != source:
        raise UserError(
            f"Version {target} of {name} was not made champion: it was compared with version {source or 'none'}, and "
            f"the champion is now version {current or 'none'}. Run the command again."
        )


def _append(client: MlflowClient, name: str, target: int, tags: Mapping[str, str]) -> int:
    from mlflow.exceptions import MlflowException

    log = history_name(name)
    if log not in list_models(client):
        try:
            client.create_registered_model(
                log, description=f"Every version is a decision about the champion of {name}, in order; see its tags."
            )
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
    moved = f"version {tags['from']} to {tags['to']}, by {tags['who']}"
    description = f"{tags['action']}: {moved}. {tags['reason']}".strip()
    for attempt in range(_ATTEMPTS):
        try:
            created = client.create_model_version(
                log, f"models:/{name}/{target}", tags=dict(tags), description=description
            )
            return int(created.version)
        except MlflowException:
            # Several processes asked for the same number; MLflow itself tries only a few times.
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _dump_verdict(verdict: Mapping[str, Any]) -> str:
    """Return the figures of the gate as JSON; without the single checks where those are too many for a tag."""
    text = json.dumps(dict(verdict), ensure_ascii=False)
    if len(text) <= _MAX_VERDICT:
        return text
    return json.dumps({key: value for key, value in verdict.items() if not key.startswith("check.")})


def _validate(entries: Iterable[Entry]) -> Iterable[Entry]:
    from dataclasses import replace

    head = 0
    for entry in entries:
        valid = entry.after == head
        head = entry.number if valid else head
        yield replace(entry, valid=valid)


def _number(entry: Entry) -> int:
    return entry.number


def _from_version(version: ModelVersion) -> Entry:
    """Return a version of the log as an entry; one that somebody else wrote there names no entry, and never counts."""
    tags = version.tags

    def number(key: str, default: int) -> int:
        value = tags.get(key, "")
        return int(value) if value.isdecimal() else default

    try:
        verdict = json.loads(tags.get("verdict", "{}"))
    except ValueError:  # Cut off, because MLflow limits the length of tags.
        verdict = {}
    return Entry(
        number=int(version.version),
        after=number("after", -1),
        action=cast(Action, tags.get("action", "promote")),
        source=number("from", 0),
        target=number("to", 0),
        who=tags.get("who", ""),
        when=tags.get("when", ""),
        commit=tags.get("commit", ""),
        reason=tags.get("reason", ""),
        verdict=verdict,
    )
