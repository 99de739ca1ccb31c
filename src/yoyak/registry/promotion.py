"""The MLflow Model Registry: a version for each training, and who is champion.

``<name>-<member>`` has a version for every training of a member, and its champion is the one with the best dev score.
``<name>`` has those that were the best of their pipeline, and ensembles. Of the best ones the first is ``champion``. A
later one is ``challenger`` until it is significantly better on the dev set; then it becomes champion, and the one
before it ``previous``. The newest ensemble has the alias ``ensemble``. Every move of an alias leaves tags on the
version (``alias.champion.who``, ``.when``, ``.from``, ``.to``, ``.commit``, ``.gate.p_value`` …).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from yoyak.decoding.candidates import read_candidates
from yoyak.errors import UserError, nearest
from yoyak.registry.versions import (
    CHALLENGER,
    CHAMPION,
    ENSEMBLE,
    PREVIOUS,
    add_version,
    aliases_of,
    existing,
    model_names,
    move_aliases,
    now,
    to_version,
)
from yoyak.registry.versions import Version as Version
from yoyak.scoring.bootstrap import paired_bootstrap
from yoyak.tracking.client import connect, store_lock, translate_mlflow_errors
from yoyak.tracking.runs import PREDICTIONS, PREDICTIONS_MD5
from yoyak.tracking.stage_run import flatten

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINGERPRINT = "yoyak.fingerprint"
DEV_SCORE = "score.dev.combined"
"""Tag of a version: its combined ROUGE on dev."""

_BEFORE, _UNDONE = "alias.champion.before", "alias.champion.undone"


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """Whether a challenger is significantly better than the champion on the same dev dialogues, and by how much."""

    passed: bool
    difference: float
    """Challenger's mean score less the champion's."""
    low: float
    high: float
    p_value: float
    n: int
    significance: float


def gate(challenger: np.ndarray, champion: np.ndarray, *, significance: float, samples: int, seed: int) -> GateResult:
    """Compare the scores of each dev dialogue [dialogues]: it takes a gain with a paired p-value under significance."""
    found = paired_bootstrap(challenger, champion, samples=samples, confidence=1 - significance, seed=seed)
    passed = found.difference > 0 and found.p_value < significance
    return GateResult(passed=passed, significance=significance, **asdict(found))


def register_member(name: str, *, model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """Return the version of a member's registered model that is this model; a new one if there is none yet.

    A new version carries the commit as tags, beside ``tags``. It is champion if it is the first, or if its dev score
    (the tag `DEV_SCORE`) is not below the champion's; else challenger.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        version = add_version(client, name, model_id, run_id, tags)
        aliases = aliases_of(client, name)
        if CHAMPION not in aliases:
            return move_aliases(client, version, {**aliases, CHAMPION: version.version}, None)
        if aliases[CHAMPION] == version.version or _UNDONE in version.tags:
            return version
        if _rank(version) > _rank(existing(client, name, aliases[CHAMPION])):
            return _promote(client, version, None)
        return move_aliases(client, version, {**aliases, CHALLENGER: version.version}, None)


def _rank(version: Version) -> tuple[float, int]:
    return float(version.tags.get(DEV_SCORE, "-inf")), version.version


def register_best(
    name: str,
    *,
    member: str,
    model_id: str,
    run_id: str,
    scores: Mapping[str, float],
    tags: Mapping[str, str],
    gate: GateResult | None = None,
) -> Version:
    """Return the version of ``name`` that is this model, with the alias that it has earned.

    ``gate`` compares it with the champion, and may be missing while there is none. A version whose promotion was
    undone by a person is not promoted again by this. Doing it twice changes nothing but the tags.
    """
    client = connect()
    described = {
        **tags,
        **{f"score.{key}": value for key, value in flatten(scores).items()},
        "member": member,
        "variant": "fp32",
    }
    with store_lock(), translate_mlflow_errors():
        version = add_version(client, name, model_id, run_id, described)
        aliases = aliases_of(client, name)
        if CHAMPION not in aliases:
            others = {alias: number for alias, number in aliases.items() if number != version.version}
            return move_aliases(client, version, {**others, CHAMPION: version.version}, _figures(gate))
        if aliases[CHAMPION] == version.version:
            return version
        if gate is not None and gate.passed and _UNDONE not in version.tags:
            return _promote(client, version, gate)
        return move_aliases(client, version, {**aliases, CHALLENGER: version.version}, _figures(gate))


def register_ensemble(
    name: str, *, variant: str, model_id: str, run_id: str, scores: Mapping[str, float], tags: Mapping[str, str]
) -> Version:
    """Return the version of ``name`` that is this ensemble or soup, with the alias ``ensemble``."""
    client = connect()
    described = {
        **tags,
        **{f"score.{key}": value for key, value in flatten(scores).items()},
        "variant": variant,
    }
    with store_lock(), translate_mlflow_errors():
        version = add_version(client, name, model_id, run_id, described)
        return move_aliases(client, version, {**aliases_of(client, name), ENSEMBLE: version.version}, None)


def find_version(name: str, tag: str, value: str) -> Version | None:
    """Return the newest version of a registered model that has a tag, or None."""
    with translate_mlflow_errors():
        query = f"name = '{name}' AND tags.`{tag}` = '{value}'"
        found = connect().search_model_versions(query, order_by=["version_number DESC"], max_results=1)
        return to_version(found[0]) if found else None


def champion(name: str) -> Version | None:
    """Return the champion of a registered model, or None where there is no such model or champion."""
    client = connect()
    with translate_mlflow_errors():
        number = aliases_of(client, name).get(CHAMPION)
        return to_version(client.get_model_version(name, str(number))) if number else None


def promote(name: str, version: int, *, gate: GateResult | None = None) -> Version:
    """Make a version champion, whatever the gate would say; the champion so far becomes ``previous``."""
    client = connect()
    with store_lock(), translate_mlflow_errors():
        found = existing(client, name, version)
        if CHAMPION in found.aliases:
            raise UserError(f"Version {version} of {name} is the champion already.")
        return _promote(client, found, gate)


def mark(version: Version, fingerprint: str) -> None:
    """Tag a version with what it was registered from, which `registry.check.quick_check` looks for."""
    with translate_mlflow_errors():
        connect().set_model_version_tag(version.name, str(version.version), FINGERPRINT, fingerprint)


def undo_promotion(name: str) -> Version:
    """Take the last promotion back and return the champion that this brings again.

    The version that loses the title becomes challenger unless there is another; only `promote` makes it champion
    again.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        aliases = aliases_of(client, name)
        if CHAMPION not in aliases:
            raise UserError(
                f"{name} has no champion{nearest(name, model_names(client))}: there is no promotion to undo."
            )
        loser = existing(client, name, aliases[CHAMPION])
        before: dict[str, int] = json.loads(loser.tags.get(_BEFORE, "{}"))
        if CHAMPION not in before:
            raise UserError(f"Version {loser.version} of {name} was the first champion: there is no promotion to undo.")
        winner = existing(client, name, before[CHAMPION])
        back = {CHAMPION: winner.version, CHALLENGER: aliases.get(CHALLENGER, loser.version)}
        client.set_model_version_tag(name, str(loser.version), _UNDONE, now())
        client.delete_model_version_tag(name, str(loser.version), _BEFORE)
        return move_aliases(
            client, winner, {**({PREVIOUS: before[PREVIOUS]} if PREVIOUS in before else {}), **back}, None
        )


def champion_predictions(version: Version, dataset_md5: str) -> dict[str, str] | None:
    """Return a champion's best summary of each dev dialogue, by fname, as `tracking.attach_predictions` kept them.

    None where none were kept, or where they are of another dev set than the one with this md5.
    """
    from mlflow.exceptions import MlflowException

    client = connect()
    try:
        if client.get_run(version.run_id).data.tags.get(PREDICTIONS_MD5) != dataset_md5:
            return None
        with tempfile.TemporaryDirectory(prefix="yoyak-") as folder:
            rows = read_candidates(client.download_artifacts(version.run_id, PREDICTIONS, folder))
    except (MlflowException, OSError, ValueError):
        return None
    return {fname: candidates[0].text for fname, candidates in rows.items() if candidates}


def _promote(client: MlflowClient, version: Version, gate: GateResult | None) -> Version:
    before = aliases_of(client, version.name)
    after = {alias: number for alias, number in before.items() if number != version.version}
    if CHAMPION in before:
        after[PREVIOUS] = before[CHAMPION]
    number = str(version.version)
    client.set_model_version_tag(version.name, number, _BEFORE, json.dumps(before))
    if _UNDONE in version.tags:
        client.delete_model_version_tag(version.name, number, _UNDONE)
    return move_aliases(client, version, {**after, CHAMPION: version.version}, _figures(gate))


def _figures(gate: GateResult | None) -> dict[str, Any] | None:
    return asdict(gate) if gate else None
