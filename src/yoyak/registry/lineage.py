"""Where a version comes from: alias, version, run, pipeline's run, commit, stages, params, data, base checkpoint.

    lineage = read_lineage("yoyak@champion")
    print(lineage.commit, lineage.stages, lineage.data)

It is read from the tags under ``lineage.`` that `registry.lineage_record` leaves on a version, so it is known even if
the runs are deleted. `registry.verify` compares it with what is there, `registry.lineage_text` writes it for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import count
from typing import TYPE_CHECKING, Any

from yoyak.errors import UserError
from yoyak.registry.resolve import locate
from yoyak.tracking.client import connect, translate_mlflow_errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities import RunInputs

PREFIX = "lineage."
"""Of the tags of a version that say where it comes from."""
EXPERIMENT = f"{PREFIX}experiment"
"""Tag of a version that comes from a DVC experiment: which one."""
IMPORTED = "imported."
"""Prefix of the tags that the version of a bundle has from the original training."""
_SCORE = re.compile(r"score\.([^.]+)\.combined")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What dvc.lock says of a stage: DVC's md5 of each input and output by path, and the params that it read."""

    name: str
    deps: Mapping[str, str]
    outs: Mapping[str, str]
    params: Mapping[str, Any]
    """Values of params.yaml by dotted key, of any depth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The checkpoint that a training started from."""

    checkpoint: str
    """A folder, or a name on the Hugging Face Hub."""
    commit: str = ""
    """The Hub's commit; empty for a folder, or if it is unknown."""
    md5: str = ""
    """DVC's md5 of a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A data file of the project, as `prepare` read it."""

    name: str
    """Its key in params.yaml, such as ``train``."""
    path: str
    rows: int
    md5: str
    """Empty if the file was not there when the version was registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """A run in MLflow."""

    run_id: str
    name: str
    experiment: str
    status: str
    started: str
    """ISO 8601, in UTC."""
    user: str
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Everything that a version was made from. What is unknown is empty."""

    uri: str
    """The version as it was asked for, such as models:/yoyak@champion."""
    name: str
    version: int
    aliases: tuple[str, ...]
    member: str
    """The member or ensemble."""
    variant: str
    """``fp32``, ``ensemble``, ``soup``, ``int8`` …"""
    identity: str
    """Digest of weights, generation settings and code."""
    model_id: str
    run: RunInfo | None
    """The run that the model was logged with; None if MLflow does not have it any more."""
    parent: RunInfo | None
    """The run of the pipeline."""
    commit: str
    dirty: bool
    """Whether files differed from the commit."""
    experiment: str
    """The DVC experiment (DVC_EXP_NAME)."""
    seed: str
    device: str
    params: Mapping[str, str]
    """Params of the run."""
    params_md5: str
    """Of all params that the stages read."""
    stages: tuple[Stage, ...]
    versions: Mapping[str, str]
    """Versions of Python and of the packages that decide a result."""
    base: Base | None
    """None for a member that was trained from scratch."""
    data: tuple[DataFile, ...]
    splits: Mapping[str, int]
    """Rows of each split after preparation."""
    scores: Mapping[str, float]
    """Combined ROUGE by split."""
    files: Mapping[str, str]
    """md5 of each of the model's files."""
    members: tuple[Lineage, ...]
    """Of an ensemble."""
    source: Lineage | None
    """The version that an exported model was made from."""
    bundle_digest: str
    """sha256 of the bundle that the version was imported from; its md5 where an older Yoyak imported it."""
    imported: Mapping[str, str]
    """What that bundle says of its original training."""
    missing: tuple[str, ...]
    """Versions that this one refers to, but which the registry does not have any more."""

    @property
    def label(self) -> str:
        """Name and version, as they are printed."""
        return f"{self.name}/{self.version}"


def read_lineage(name_or_uri: str) -> Lineage:
    """Return where a registered version comes from: ``models:/yoyak@champion``, ``yoyak@champion`` or ``yoyak/3``.

    Of a version without tags under ``lineage.`` it is what its runs say. Raises UserError that names the nearest
    model, version or alias where there is no such version.
    """
    uri = name_or_uri if ":/" in name_or_uri else f"models:/{name_or_uri}"
    version = locate(uri).version
    if version is None:
        raise UserError(f"{uri} is not a registered version: name one, such as models:/yoyak@champion.")
    client, tags = connect(), version.tags
    with translate_mlflow_errors():
        run = find_run(client, version.run_id)
        parent = find_run(client, run.data.tags.get("mlflow.parentRunId", "") if run else "")
        run_info, parent_info = (_describe_run(client, entry) if entry else None for entry in (run, parent))
    run_tags = run.data.tags if run else {}
    recorded = read_tags(tags)
    base = recorded.get("base")
    missing: list[str] = []
    members = [_read_related(value, missing) for key, value in tags.items() if key.startswith("member.")]
    source = _read_related(tags["source.version"], missing) if tags.get("source.version") else None
    return Lineage(
        uri=uri,
        name=version.name,
        version=version.version,
        aliases=tuple(sorted(version.aliases)),
        member=tags.get("member") or tags.get("strategy", ""),
        variant=tags.get("variant", "fp32"),
        identity=tags.get("yoyak.identity", ""),
        model_id=version.model_id,
        run=run_info,
        parent=parent_info,
        commit=recorded.get("commit") or tags.get("git.commit", "").replace("none", ""),
        dirty=recorded.get("dirty", tags.get("git.dirty") == "true"),
        # The run stays that of the experiment when the model has since come from a commit.
        experiment=recorded.get("experiment", "" if "commit" in recorded else run_tags.get("DVC_EXP_NAME", "")),
        seed=str(recorded.get("seed", run_tags.get("seed", ""))),
        device=recorded.get("device") or run_tags.get("device", ""),
        params=dict(run.data.params) if run else {},
        params_md5=recorded.get("params_md5", ""),
        stages=tuple(Stage(**stage) for stage in recorded.get("stages", ())),
        versions=recorded.get("versions") or run_versions(run_tags),
        base=Base(**base) if base else None,
        data=tuple(DataFile(**file) for file in recorded.get("data", ())),
        splits=recorded.get("splits") or (_run_splits(run.inputs) if run else {}),
        scores=dict(_read_scores(tags)),
        files=recorded.get("files", {}),
        members=tuple(member for member in members if member),
        source=source,
        bundle_digest=tags.get("bundle.sha256") or tags.get("bundle.md5", ""),
        imported={key.removeprefix(IMPORTED): value for key, value in tags.items() if key.startswith(IMPORTED)},
        missing=tuple(missing),
    )


def stage_names(member: str = "", strategy: str = "") -> tuple[str, ...]:
    """Return the stages that a member's candidates, or an ensemble's summaries, come from, in their order."""
    if strategy:
        return ("prepare", f"ensemble@{strategy}", f"blend@{strategy}")
    return ("prepare", *(f"{stage}@{member}" for stage in ("base", "train", "predict")))


def to_stage(name: str, entry: Mapping[str, Any]) -> Stage:
    """Convert a stage of dvc.lock."""
    params = {key: value for file in entry.get("params", {}).values() for key, value in file.items()}
    deps, outs = ({item["path"]: item.get("md5", "") for item in entry.get(kind, ())} for kind in ("deps", "outs"))
    return Stage(name=name, deps=deps, outs=outs, params=params)


def to_dict(lineage: Lineage) -> dict[str, Any]:
    """Return a lineage as plain values, for JSON."""
    return asdict(lineage)


def read_tags(tags: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that `lineage_record.version_tags` wrote; one that is damaged counts as unknown."""
    texts = {"commit", "experiment", "run", "parent_run", "seed", "device", "params_md5"}
    values: dict[str, Any] = {}
    for name in (*texts, "dirty", "versions", "stages", "base", "data", "splits", "files"):
        text = tags.get(f"{PREFIX}{name}", "")
        if name in texts:
            values |= {name: text} if text else {}
            continue
        # The start of an array or an object is never JSON itself, so what an earlier, longer value left is not read.
        for number in count(2):
            with suppress(ValueError):
                values[name] = json.loads(text)
                break
            if (more := tags.get(f"{PREFIX}{name}.{number}")) is None:
                break
            text += more
    return values


def _read_scores(tags: Mapping[str, str]) -> Iterator[tuple[str, float]]:
    for key, value in tags.items():
        if match := _SCORE.fullmatch(key):
            with suppress(ValueError):
                yield match[1], float(value)


def _read_related(label: str, missing: list[str]) -> Lineage | None:
    """Return the lineage of a version that another one refers to; its label goes to ``missing`` if it is gone."""
    try:
        return read_lineage(f"models:/{label}")
    except UserError:
        missing.append(label)
        return None


def find_run(client: MlflowClient, run_id: str) -> MlflowRun | None:
    from mlflow.exceptions import MlflowException

    if not run_id:
        return None
    try:
        return client.get_run(run_id)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def _describe_run(client: MlflowClient, run: MlflowRun) -> RunInfo:
    info = run.info
    return RunInfo(
        run_id=info.run_id,
        name=info.run_name or "",
        experiment=client.get_experiment(str(info.experiment_id)).name,
        status=info.status,
        started=datetime.fromtimestamp(info.start_time / 1000, UTC).isoformat(timespec="seconds"),
        user=run.data.tags.get("mlflow.user", ""),
        deleted=info.lifecycle_stage == "deleted",
    )


def run_versions(tags: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix("version."): value for key, value in tags.items() if key.startswith("version.")}


def _run_splits(inputs: RunInputs | None) -> dict[str, int]:
    """Return the number of rows of each dataset that a run has logged."""
    datasets = [entry.dataset for entry in inputs.dataset_inputs] if inputs else []
    return {dataset.name: int(json.loads(dataset.profile or "{}").get("num_rows", 0)) for dataset in datasets}
