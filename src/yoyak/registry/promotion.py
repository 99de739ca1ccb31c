"""Promotion in the MLflow Model Registry: a version for each training, and which one is champion.

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
from typing import TYPE_CHECKING

import numpy as np

from yoyak.decoding.candidates import read_candidates
from yoyak.errors import UserError, nearest
from yoyak.registry.versions import (
    CHALLENGER,
    CHAMPION,
    ENSEMBLE,
    PREVIOUS,
    Version,
    add_version,
    find_by_alias,
    get_aliases,
    get_version,
    list_models,
    move_aliases,
    timestamp,
    to_version,
)
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
    """The challenger's mean score less the champion's."""
    low: float
    high: float
    p_value: float
    n: int
    significance: float


def gate(challenger: np.ndarray, champion: np.ndarray, *, significance: float, samples: int, seed: int) -> GateResult:
    """Compare the scores of each dev dialogue [dialogues]: a gain with a paired p-value below significance passes."""
    comparison = paired_bootstrap(challenger, champion, samples=samples, confidence=1 - significance, seed=seed)
    passed = comparison.difference > 0 and comparison.p_value < significance
    return GateResult(passed=passed, significance=significance, **asdict(comparison))


def register_member(name: str, *, model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """Return the version of a member's registered model that is this model; a new one if there is none yet.

    A new version carries the commit as tags, beside ``tags``. It is champion if it is the first, or if its dev score
    (the tag `DEV_SCORE`) is not below the champion's; else challenger.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        version = add_version(client, name, model_id, run_id, tags)
        aliases = get_aliases(client, name)
        if CHAMPION not in aliases:
            return move_aliases(client, version, {**aliases, CHAMPION: version.version}, None)
        if aliases[CHAMPION] == version.version or _UNDONE in version.tags:
            return version
        if _dev_rank(version) > _dev_rank(get_version(client, name, aliases[CHAMPION])):
            return _promote(client, version, None)
        return move_aliases(client, version, {**aliases, CHALLENGER: version.version}, None)


def register_best(
    name: str,
    *,
    member: str,
    model_id: str,
    run_id: str,
    scores: Mapping[str, Mapping[str, float]],
    tags: Mapping[str, str],
    gate: GateResult | None = None,
) -> Version:
    """Return the version of ``name`` that is this model, with the alias that it has earned.

    ``scores`` are means by split and metric. ``gate`` compares the model with the champion, and may be missing while
    there is none. A version whose promotion somebody has undone is not promoted again by this. Repeating it changes
    only the tags.
    """
    client = connect()
    tags = {**tags, **flatten({"score": scores}), "member": member, "variant": "fp32"}
    with store_lock(), translate_mlflow_errors():
        version = add_version(client, name, model_id, run_id, tags)
        aliases = get_aliases(client, name)
        figures = asdict(gate) if gate else None
        if CHAMPION not in aliases:
            others = {alias: number for alias, number in aliases.items() if number != version.version}
            return move_aliases(client, version, {**others, CHAMPION: version.version}, figures)
        if aliases[CHAMPION] == version.version:
            return version
        if gate is not None and gate.passed and _UNDONE not in version.tags:
            return _promote(client, version, gate)
        return move_aliases(client, version, {**aliases, CHALLENGER: version.version}, figures)


def register_ensemble(
    name: str,
    *,
    variant: str,
    model_id: str,
    run_id: str,
    scores: Mapping[str, Mapping[str, float]],
    tags: Mapping[str, str],
) -> Version:
    """Return the version of ``name`` that is this ensemble or soup, with the alias ``ensemble``."""
    client = connect()
    tags = {**tags, **flatten({"score": scores}), "variant": variant}
    with store_lock(), translate_mlflow_errors():
        version = add_version(client, name, model_id, run_id, tags)
        return move_aliases(client, version, {**get_aliases(client, name), ENSEMBLE: version.version}, None)


def find_version(name: str, tag: str, value: str) -> Version | None:
    """Return the newest version of a registered model that has a tag, or None."""
    with translate_mlflow_errors():
        query = f"name = '{name}' AND tags.`{tag}` = '{value}'"
        matches = connect().search_model_versions(query, order_by=["version_number DESC"], max_results=1)
        return to_version(matches[0]) if matches else None


def champion(name: str) -> Version | None:
    """Return the champion of a registered model, or None where there is no such model or champion."""
    client = connect()
    with translate_mlflow_errors():
        return find_by_alias(client, name, CHAMPION)


def promote(name: str, version: int, *, gate: GateResult | None = None) -> Version:
    """Make a version champion, whatever the gate would say; the champion so far becomes ``previous``."""
    client = connect()
    with store_lock(), translate_mlflow_errors():
        current = get_version(client, name, version)
        if CHAMPION in current.aliases:
            raise UserError(f"Version {version} of {name} is the champion already.")
        return _promote(client, current, gate)


def tag_fingerprint(version: Version, fingerprint: str) -> None:
    """Tag a version with the fingerprint of its results, which `registry.check.is_registered` looks for."""
    with translate_mlflow_errors():
        connect().set_model_version_tag(version.name, str(version.version), FINGERPRINT, fingerprint)


def undo_promotion(name: str) -> Version:
    """Undo the last promotion and return the version that is champion again.

    The version that loses the alias becomes challenger unless there is another; only `promote` makes it champion
    again.
    """
    client = connect()
    with store_lock(), translate_mlflow_errors():
        aliases = get_aliases(client, name)
        if CHAMPION not in aliases:
            raise UserError(
                f"{name} has no champion{nearest(name, list_models(client))}: there is no promotion to undo."
            )
        current = get_version(client, name, aliases[CHAMPION])
        before: dict[str, int] = json.loads(current.tags.get(_BEFORE, "{}"))
        if CHAMPION not in before:
            raise UserError(
                f"Version {current.version} of {name} was the first champion: there is no promotion to undo."
            )
        earlier = get_version(client, name, before[CHAMPION])
        client.set_model_version_tag(name, str(current.version), _UNDONE, timestamp())
        client.delete_model_version_tag(name, str(current.version), _BEFORE)
        after = {CHAMPION: earlier.version, CHALLENGER: aliases.get(CHALLENGER, current.version)}
        if PREVIOUS in before:
            after[PREVIOUS] = before[PREVIOUS]
        return move_aliases(client, earlier, after, None)


def champion_predictions(version: Version, dataset_md5: str) -> dict[str, str] | None:
    """Return a champion's best summary of each dev dialogue, by fname, as `tracking.runs.attach_predictions` kept them.

    None where none were kept, or where they belong to another dev set than the one with this md5.
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


def _dev_rank(version: Version) -> tuple[float, int]:
    return float(version.tags.get(DEV_SCORE, "-inf")), version.version


def _promote(client: MlflowClient, version: Version, gate: GateResult | None) -> Version:
    before = get_aliases(client, version.name)
    after = {alias: number for alias, number in before.items() if number != version.version}
    if CHAMPION in before:
        after[PREVIOUS] = before[CHAMPION]
    number = str(version.version)
    client.set_model_version_tag(version.name, number, _BEFORE, json.dumps(before))
    if _UNDONE in version.tags:
        client.delete_model_version_tag(version.name, number, _UNDONE)
    return move_aliases(client, version, {**after, CHAMPION: version.version}, asdict(gate) if gate else None)
