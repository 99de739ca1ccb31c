"""Promotion in the MLflow Model Registry: which version of a registered model is its champion.

``<name>-<member>`` has the versions of a member, ``<name>`` those that were the best of their pipeline, and ensembles.
The first version is ``champion``. A later one is ``challenger`` until it passes the gate (`registry.gate`); then it
becomes champion, and the one before it ``previous``. The newest ensemble has the alias ``ensemble``. Every decision
about a champion is an entry in the history (`registry.history`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from yoyak.errors import UserError, nearest
from yoyak.registry import history, lineage
from yoyak.registry.check import FINGERPRINT
from yoyak.registry.versions import (
    CHALLENGER,
    CHAMPION,
    ENSEMBLE,
    PREVIOUS,
    Version,
    add_version,
    commit_tags,
    find_by_alias,
    get_aliases,
    get_version,
    iter_versions,
    list_models,
    move_aliases,
    tag_move,
    timestamp,
    to_version,
)
from yoyak.tracking.client import connect, store_lock, translate_mlflow_errors
from yoyak.tracking.decisions import Action, Entry, Verdict
from yoyak.tracking.restore import has_files

if TYPE_CHECKING:
    from mlflow import MlflowClient

IDENTITY = "yoyak.identity"
"""Tag of a version: the digest of its weights, how it writes, and the code that runs it."""
EXPERIMENT = "yoyak.experiment"
"""Tag of a version that comes from an experiment: which one. It is absent if the version comes from a commit."""
DEV_SCORE = "score.dev.combined"
"""Tag of a version: its combined ROUGE on dev."""

_UNDONE = "alias.champion.undone"
_TRIED = "gate.tried."


def register_version(
    name: str, *, model_id: str, run_id: str, tags: Mapping[str, str], experiment: str = ""
) -> Version:
    """Return the version of ``name`` that is this model, with these tags and no new alias; created if needed.

    A version stays that of an ``experiment`` (`tracking.lineage.experiment_name`) until the same model comes from a
    commit; one that has come from a commit stays so.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        origin = {EXPERIMENT: experiment} if experiment else {}
        version = add_version(client, name, model_id, run_id, tags, origin)
        if experiment or EXPERIMENT not in version.tags:
            return version
        for key, value in commit_tags().items():
            client.set_model_version_tag(name, str(version.version), key, value)
        for key in (EXPERIMENT, lineage.EXPERIMENT):
            client.delete_model_version_tag(name, str(version.version), key)
        return get_version(client, name, version.version)


def settle_candidate(version: Version, verdict: Verdict | None, *, experiment: str = "", seen: int) -> Version:
    """Give a version the alias that it has earned, and return it. Repeating it changes nothing.

    It becomes champion if there is none, or if ``verdict`` says so and nobody has undone its promotion; otherwise it is
    challenger. An experiment is challenger at most.

    Args:
        verdict: What the gate said; None if there was no champion to compare it with.
        experiment: Where the version comes from, if not from a commit (`tracking.lineage.experiment_name`).
        seen: `history.last_number` when the verdict was computed. A decision that came after it voids the verdict.
    """
    client, name = connect(), version.name
    with store_lock(), translate_mlflow_errors():
        aliases = get_aliases(client, name)
        if aliases.get(CHAMPION) == version.version:
            return get_version(client, name, version.version)
        if not experiment and CHAMPION not in aliases:
            return _make_first(client, version)
        if not experiment and verdict is not None and verdict.passed and _UNDONE not in version.tags:
            return _make_champion(
                client, version, after=seen, action="promote", source=verdict.champion, verdict=verdict
            )
        figures = verdict.figures if verdict else None
        return move_aliases(client, version, {**_rivals(aliases), CHALLENGER: version.version}, figures)


def register_ensemble(
    name: str, *, model_id: str, run_id: str, tags: Mapping[str, str], experiment: str = ""
) -> Version:
    """Return the version of ``name`` that is this ensemble or soup, with the alias ``ensemble`` if it is a commit's."""
    client = connect()
    with store_lock(), translate_mlflow_errors():
        version = register_version(name, model_id=model_id, run_id=run_id, tags=tags, experiment=experiment)
        if experiment:
            return get_version(client, name, version.version)
        return move_aliases(client, version, {**get_aliases(client, name), ENSEMBLE: version.version}, None)


def find_version(name: str, tag: str, value: str) -> Version | None:
    """Return the newest version of a registered model that has a tag, or None."""
    with translate_mlflow_errors():
        query = f"name = '{name}' AND tags.`{tag}` = '{value}'"
        matches = connect().search_model_versions(query, order_by=["version_number DESC"], max_results=1)
        return to_version(matches[0]) if matches else None


def find_usable(name: str, tag: str, value: str) -> Version | None:
    """Return the newest version of a registered model that has a tag, if its files still exist."""
    version = find_version(name, tag, value)
    return version if version is not None and has_files(connect(), version.model_id) else None


def champion(name: str) -> Version | None:
    """Return the champion of a registered model, or None where there is no such model or champion."""
    client = connect()
    with translate_mlflow_errors():
        return find_by_alias(client, name, CHAMPION)


def promote(
    name: str, version: int, *, verdict: Verdict | None = None, reason: str = "", allow_experiment: bool = False
) -> Version:
    """Make a version champion; the champion so far becomes ``previous``.

    ``verdict`` is what the gate said of it; without one, ``reason`` says why the gate is overruled. Raises UserError,
    and moves nothing, if it is champion already, did not pass, comes from an experiment that is not allowed, or if the
    verdict is about another champion than the present one.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        seen = history.last_number(history.read_log(client, name))
        current = get_version(client, name, version)
        title = f"Version {version} of {name}"
        check_candidate(current, allow_experiment=allow_experiment)
        source = get_aliases(client, name).get(CHAMPION, 0)
        if verdict is None and source and not reason:
            raise UserError(f"{title} has no verdict of the gate: promote it by force, and give a reason.")
        if verdict is not None and not verdict.passed:
            raise UserError(f"{title} did not pass the gate: {verdict.sentence}. Force it, with a reason, to overrule.")
        experiment = current.tags.get(EXPERIMENT, "")
        note = f"{experiment} was allowed" if experiment else ""
        reason = "; ".join(filter(None, [reason, note]))
        if not source:
            return _make_first(client, current, reason)
        return _make_champion(
            client,
            current,
            after=seen,
            action="promote" if verdict else "force",
            source=verdict.champion if verdict else source,
            verdict=verdict,
            reason=reason,
        )


def check_candidate(version: Version, *, allow_experiment: bool) -> None:
    """Raise UserError if a version is champion already, or comes from an experiment that is not allowed."""
    title = f"Version {version.version} of {version.name}"
    if CHAMPION in version.aliases:
        raise UserError(f"{title} is the champion already.")
    experiment = version.tags.get(EXPERIMENT, "")
    if experiment and not allow_experiment:
        raise UserError(
            f"{title} comes from {experiment}, which nobody can reproduce from a commit: commit it and run "
            f"`dvc repro`, or allow it with --allow-experiment."
        )


def tag_fingerprint(version: Version, fingerprint: str) -> None:
    """Tag a version with the fingerprint of its results, which `registry.check.is_registered` looks for."""
    with translate_mlflow_errors():
        connect().set_model_version_tag(version.name, str(version.version), FINGERPRINT, fingerprint)


def rollback(name: str, *, reason: str = "") -> Version:
    """Make the champion before the present one champion again, and return it.

    The version that loses the alias becomes challenger unless there is another, and is not promoted again by its
    pipeline. Repeated, it goes back further, until the first champion.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        aliases = get_aliases(client, name)
        if CHAMPION not in aliases:
            raise UserError(f"{name} has no champion{nearest(name, list_models(client))}: there is nothing to undo.")
        entries = history.read_log(client, name)
        existing = {int(version.version) for version in iter_versions(client, name)}
        # A version that somebody has deleted cannot come back.
        champions = [number for number in past_champions(entries) if number in existing]
        current = get_version(client, name, aliases[CHAMPION])
        while champions and champions[-1] == current.version:
            champions.pop()
        if not champions:
            raise UserError(f"Version {current.version} of {name} was the first champion: there is no earlier one.")
        earlier = get_version(client, name, champions.pop())
        history.move_champion(
            client,
            name,
            after=history.last_number(entries),
            source=current.version,
            target=earlier.version,
            action="rollback",
            reason=reason,
        )
        tag_move(client, name, CHAMPION, current.version, earlier.version, None)
        client.set_model_version_tag(name, str(current.version), _UNDONE, timestamp())
        after = {alias: number for alias, number in _rivals(get_aliases(client, name)).items() if alias != PREVIOUS}
        after.setdefault(CHALLENGER, current.version)
        if after[CHALLENGER] == earlier.version:
            after[CHALLENGER] = current.version
        if champions:
            after[PREVIOUS] = champions[-1]
        return move_aliases(client, earlier, after, None)


def past_champions(entries: list[Entry]) -> list[int]:
    """Return the champions that rolling back would restore one after the other, the present one last."""
    champions: list[int] = []
    for entry in entries:
        if not entry.valid:
            continue
        if entry.action == "rollback":
            while champions and champions[-1] != entry.target:
                champions.pop()
            champions = champions or [entry.target]
        else:
            if entry.source and (not champions or champions[-1] != entry.source):
                # Somebody moved the alias by hand in between.
                champions.append(entry.source)
            champions.append(entry.target)
    return champions


def is_undone(version: Version) -> bool:
    """Return whether a person has undone the promotion of a version."""
    return _UNDONE in version.tags


def count_attempt(champion: Version, challenger: Version, dataset: str, scheme: str, *, remember: bool = True) -> int:
    """Return which challenger of a champion this is, from 1, and ``remember`` it on the champion.

    The same challenger on the same gate split by the same scores is counted once.
    """
    identity = challenger.tags.get(IDENTITY) or challenger.uri
    key = hashlib.sha256(f"{identity} {dataset} {scheme}".encode()).hexdigest()[:16]
    client, number = connect(), str(champion.version)
    with store_lock(), translate_mlflow_errors():
        # Another challenger may have been counted while this one was evaluated.
        tags = get_version(client, champion.name, number).tags
        attempts = {tag: int(value) for tag, value in tags.items() if tag.startswith(_TRIED)}
        if f"{_TRIED}{key}" in attempts:
            return attempts[f"{_TRIED}{key}"]
        attempt = len(attempts) + 1
        if remember:
            client.set_model_version_tag(champion.name, number, f"{_TRIED}{key}", str(attempt))
    return attempt


def _rivals(aliases: Mapping[str, int]) -> dict[str, int]:
    """Return the aliases that a decision about the champion changes; others may move on another host meanwhile."""
    return {alias: number for alias, number in aliases.items() if alias in (CHALLENGER, PREVIOUS)}


def _make_first(client: MlflowClient, version: Version, reason: str = "") -> Version:
    """Make a version champion where there is none; challenger, if another process was faster."""
    aliases = get_aliases(client, version.name)
    tag_move(client, version.name, CHAMPION, None, version.version, None)
    if not history.set_first_champion(client, version.name, version.version, reason):
        return move_aliases(client, version, {**_rivals(aliases), CHALLENGER: version.version}, None)
    others = {alias: number for alias, number in _rivals(aliases).items() if number != version.version}
    return move_aliases(client, version, others, None)


def _make_champion(
    client: MlflowClient,
    version: Version,
    *,
    after: int,
    action: Action,
    source: int,
    verdict: Verdict | None = None,
    reason: str = "",
) -> Version:
    figures = verdict.figures if verdict else None
    before = _rivals(get_aliases(client, version.name))
    history.move_champion(
        client,
        version.name,
        after=after,
        source=source,
        target=version.version,
        action=action,
        reason=reason or (verdict.sentence if verdict else ""),
        verdict=figures,
    )
    tag_move(client, version.name, CHAMPION, source, version.version, figures)
    if _UNDONE in version.tags:
        client.delete_model_version_tag(version.name, str(version.version), _UNDONE)
    others = {alias: number for alias, number in before.items() if number != version.version}
    if source:
        others[PREVIOUS] = source
    return move_aliases(client, version, others, figures)
