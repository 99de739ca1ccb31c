"""The MLflow Model Registry: a version for each training, and who is champion. Nothing else writes the registry.

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
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from yoyak import lineage
from yoyak.decoding.candidates import read_candidates
from yoyak.errors import UserError, nearest
from yoyak.model_uri import resolve_model as resolve_model
from yoyak.scoring.bootstrap import paired
from yoyak.tracking import PREDICTIONS, PREDICTIONS_MD5
from yoyak.tracking_run import flatten
from yoyak.tracking_store import connect, locked, reported

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER, PREVIOUS, ENSEMBLE = "champion", "challenger", "previous", "ensemble"
FINGERPRINT = "yoyak.fingerprint"
DEV_SCORE = "score.dev.combined"
"""Tag of a version: its combined ROUGE on dev."""

_BEFORE, _UNDONE = "alias.champion.before", "alias.champion.undone"


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
        """What `mlflow models serve -m` and `yoyak predict --model` take."""
        return f"models:/{self.name}/{self.version}"


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
    found = paired(challenger, champion, samples=samples, confidence=1 - significance, seed=seed)
    passed = found.difference > 0 and found.p_value < significance
    return GateResult(passed=passed, significance=significance, **asdict(found))


def register_member(name: str, *, model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
    """Return the version of a member's registered model that is this model; a new one if there is none yet.

    A new version carries the commit as tags, beside ``tags``. It is champion if it is the first, or if its dev score
    (the tag `DEV_SCORE`) is not below the champion's; else challenger.
    """
    client = connect()
    with locked(), reported():
        version = _register(client, name, model_id, run_id, tags)
        aliases = _aliases(client, name)
        if CHAMPION not in aliases:
            return _move(client, version, {**aliases, CHAMPION: version.version}, None)
        if aliases[CHAMPION] == version.version or _UNDONE in version.tags:
            return version
        if _rank(version) > _rank(_existing(client, name, aliases[CHAMPION])):
            return _promote(client, version, None)
        return _move(client, version, {**aliases, CHALLENGER: version.version}, None)


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
    with locked(), reported():
        version = _register(client, name, model_id, run_id, described)
        aliases = _aliases(client, name)
        if CHAMPION not in aliases:
            others = {alias: number for alias, number in aliases.items() if number != version.version}
            return _move(client, version, {**others, CHAMPION: version.version}, gate)
        if aliases[CHAMPION] == version.version:
            return version
        if gate is not None and gate.passed and _UNDONE not in version.tags:
            return _promote(client, version, gate)
        return _move(client, version, {**aliases, CHALLENGER: version.version}, gate)


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
    with locked(), reported():
        version = _register(client, name, model_id, run_id, described)
        return _move(client, version, {**_aliases(client, name), ENSEMBLE: version.version}, None)


def find_version(name: str, tag: str, value: str) -> Version | None:
    """Return the newest version of a registered model that has a tag, or None."""
    with reported():
        query = f"name = '{name}' AND tags.`{tag}` = '{value}'"
        found = connect().search_model_versions(query, order_by=["version_number DESC"], max_results=1)
        return _version(found[0]) if found else None


def champion(name: str) -> Version | None:
    """Return the champion of a registered model, or None where there is no such model or champion."""
    client = connect()
    with reported():
        number = _aliases(client, name).get(CHAMPION)
        return _version(client.get_model_version(name, str(number))) if number else None


def promote(name: str, version: int, *, gate: GateResult | None = None) -> Version:
    """Make a version champion, whatever the gate would say; the champion so far becomes ``previous``."""
    client = connect()
    with locked(), reported():
        found = _existing(client, name, version)
        if CHAMPION in found.aliases:
            raise UserError(f"Version {version} of {name} is the champion already.")
        return _promote(client, found, gate)


def mark(version: Version, fingerprint: str) -> None:
    """Tag a version with what it was registered from, which `registry_check.quick_check` looks for."""
    with reported():
        connect().set_model_version_tag(version.name, str(version.version), FINGERPRINT, fingerprint)


def undo_promotion(name: str) -> Version:
    """Take the last promotion back and return the champion that this brings again.

    The version that loses the title becomes challenger unless there is another; only `promote` makes it champion
    again.
    """
    client = connect()
    with locked(), reported():
        aliases = _aliases(client, name)
        if CHAMPION not in aliases:
            raise UserError(f"{name} has no champion{nearest(name, _names(client))}: there is no promotion to undo.")
        loser = _existing(client, name, aliases[CHAMPION])
        before: dict[str, int] = json.loads(loser.tags.get(_BEFORE, "{}"))
        if CHAMPION not in before:
            raise UserError(f"Version {loser.version} of {name} was the first champion: there is no promotion to undo.")
        winner = _existing(client, name, before[CHAMPION])
        back = {CHAMPION: winner.version, CHALLENGER: aliases.get(CHALLENGER, loser.version)}
        client.set_model_version_tag(name, str(loser.version), _UNDONE, _now())
        client.delete_model_version_tag(name, str(loser.version), _BEFORE)
        return _move(client, winner, {**({PREVIOUS: before[PREVIOUS]} if PREVIOUS in before else {}), **back}, None)


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


def _register(client: MlflowClient, name: str, model_id: str, run_id: str, tags: Mapping[str, str]) -> Version:
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
        return _version(made)
    for key, value in tags.items():
        if known[0].tags.get(key) != value:
            client.set_model_version_tag(name, known[0].version, key, value)
    return _version(client.get_model_version(name, known[0].version))


def _link(client: MlflowClient, model_id: str, name: str, version: str) -> None:
    """Let MLflow's page of the model show the version, as `mlflow.register_model` does (which writes to stderr)."""
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    shown = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    links = json.dumps([*shown, {"name": name, "version": version}])
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: links})


def _promote(client: MlflowClient, version: Version, gate: GateResult | None) -> Version:
    before = _aliases(client, version.name)
    after = {alias: number for alias, number in before.items() if number != version.version}
    if CHAMPION in before:
        after[PREVIOUS] = before[CHAMPION]
    number = str(version.version)
    client.set_model_version_tag(version.name, number, _BEFORE, json.dumps(before))
    if _UNDONE in version.tags:
        client.delete_model_version_tag(version.name, number, _UNDONE)
    return _move(client, version, {**after, CHAMPION: version.version}, gate)


def _move(client: MlflowClient, version: Version, after: Mapping[str, int], gate: GateResult | None) -> Version:
    """Bring the aliases to ``after`` and tag each version that gains one; ``gate`` belongs to ``version``.

    The tags come first: a move that breaks off in the middle is then told by the tags, and can be made again.
    """
    name, before = version.name, _aliases(client, version.name)
    changed = {alias: number for alias, number in after.items() if before.get(alias) != number}
    for alias, number in changed.items():
        facts = {
            "who": lineage.person(),
            "when": _now(),
            "from": str(before.get(alias, "none")),
            "to": str(number),
            "commit": lineage.git().commit or "none",
        }
        if gate is not None and number == version.version:
            facts |= {f"gate.{key}": value for key, value in flatten(asdict(gate)).items()}
        for key, value in facts.items():
            client.set_model_version_tag(name, str(number), f"alias.{alias}.{key}", value)
    for alias in sorted(changed, key=CHAMPION.__eq__):
        client.set_registered_model_alias(name, alias, str(after[alias]))
    for alias in (CHALLENGER, PREVIOUS):
        if alias in before and alias not in after:
            client.delete_registered_model_alias(name, alias)
    return _version(client.get_model_version(name, str(version.version)))


def _existing(client: MlflowClient, name: str, version: int) -> Version:
    from mlflow.exceptions import MlflowException

    try:
        return _version(client.get_model_version(name, str(version)))
    except MlflowException as error:
        if name not in (names := _names(client)):
            raise UserError(f"No registered model is named '{name}'{nearest(name, names)}.") from error
        numbers = [str(known.version) for known in client.search_model_versions(f"name = '{name}'")]
        raise UserError(f"{name} has no version {version}{nearest(str(version), numbers)}.") from error


def _names(client: MlflowClient) -> list[str]:
    return [model.name for model in client.search_registered_models()]


def _aliases(client: MlflowClient, name: str) -> dict[str, int]:
    """Return the version behind each alias; none for a model that does not exist."""
    from mlflow.exceptions import MlflowException

    try:
        return {alias: int(number) for alias, number in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _version(found: ModelVersion) -> Version:
    return Version(
        name=found.name,
        version=int(found.version),
        model_id=(found.source or "").removeprefix("models:/"),
        run_id=found.run_id or "",
        tags=found.tags,
        aliases=tuple(found.aliases),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
