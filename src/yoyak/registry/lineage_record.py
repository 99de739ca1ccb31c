"""Recording where a version comes from, as tags under ``lineage.``, when `register` and its like add it.

So it is known whatever happens in the project later. `registry.lineage` reads the tags.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from yoyak import project
from yoyak.models.spec import SPEC_FILE, load_spec, save_spec
from yoyak.params.generation import Generation
from yoyak.registry.lineage import (
    PREFIX,
    Base,
    DataFile,
    Stage,
    find_run,
    read_tags,
    run_versions,
    stage_names,
    to_stage,
)
from yoyak.registry.versions import Version
from yoyak.tracking import lineage as tracked
from yoyak.tracking.client import connect, translate_mlflow_errors

MAX_TAG_CHARS = 5000
"""Characters of a tag's value that every MLflow server accepts; longer ones are split."""


def version_tags(
    run_id: str, folder: str | os.PathLike[str] | None = None, *, member: str = "", strategy: str = ""
) -> dict[str, str]:
    """Return the tags that say where a version comes from, read from the project in the current folder.

    Nothing is recorded that is not known, such as library versions of a run that was restored.

    Args:
        run_id: The run that the model was logged with: of a member the training's.
        folder: The model's folder, if its files are to be recorded one by one. A member's may be the one that was
            trained: it is logged with the generation settings of the stage `predict`.
        member: The member, unless the model is an ensemble.
        strategy: The strategy of params.yaml that the ensemble is.
    """
    client, git, lock = connect(), tracked.git(), tracked.read_lock(Path())
    with translate_mlflow_errors():
        run = find_run(client, run_id)
    stages = [to_stage(name, lock[name]) for name in stage_names(member, strategy) if name in lock]
    run_tags = run.data.tags if run else {}
    data, splits = _read_data()
    values: dict[str, Any] = {
        "commit": git.commit,
        "dirty": git.dirty,
        "experiment": os.environ.get("DVC_EXP_NAME", ""),
        "run": run_id,
        "parent_run": run_tags.get("mlflow.parentRunId", ""),
        "seed": run_tags.get("seed", ""),
        "device": run_tags.get("device", ""),
        "versions": run_versions(run_tags),
        "params_md5": params_md5(stages) if stages else "",
        "stages": [asdict(stage) for stage in stages],
        "base": _find_base(member, run_tags.get("checkpoint", "")) if member else None,
        "data": [asdict(file) for file in data],
        "splits": splits,
    }
    if folder is not None:
        values["files"] = _logged_files(Path(folder), stages)
    return {key: text for name, value in values.items() for key, text in _to_tags(f"{PREFIX}{name}", value)}


def file_tags(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return the tags with the md5 of each file of a model, which is all that is known of one that was imported."""
    return dict(_to_tags(f"{PREFIX}files", file_md5s(Path(folder))))


def is_recorded(version: Version | None) -> bool:
    """Return whether a version needs no `version_tags`: it has them, and no better ones can be had.

    A version that was made with uncommitted changes gets new ones once the same model comes from a commit.
    """
    if version is None or f"{PREFIX}commit" not in version.tags:
        return False
    recorded = read_tags(version.tags)
    if not recorded.get("dirty") and not recorded.get("experiment"):
        return True
    return tracked.git().dirty or "DVC_EXP_NAME" in os.environ


def params_md5(stages: Sequence[Stage]) -> str:
    """Return the md5 of all params that stages read."""
    values = {key: value for stage in stages for key, value in stage.params.items()}
    return hashlib.md5(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def file_md5s(folder: Path) -> dict[str, str]:
    """Return the md5 of each file in a folder, by its relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): tracked.digest(path) for path in files}


def _to_tags(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Yield the tags that a value becomes: none if it is empty, several if it is too long for one."""
    if value in ("", None, [], {}):
        return
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for index in range(0, len(text), MAX_TAG_CHARS):
        number = index // MAX_TAG_CHARS + 1
        yield (key if number == 1 else f"{key}.{number}"), text[index : index + MAX_TAG_CHARS]


def _logged_files(folder: Path, stages: Sequence[Stage]) -> dict[str, str]:
    """Return the md5 of each file that is logged of a model's folder."""
    md5s = file_md5s(folder)
    generation = next((stage.params["generation"] for stage in stages if "generation" in stage.params), None)
    if SPEC_FILE in md5s and generation is not None:
        with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
            save_spec(Path(temporary), replace(load_spec(folder), generation=Generation(**generation)))
            md5s[SPEC_FILE] = tracked.digest(Path(temporary, SPEC_FILE))
    return md5s


def _find_base(member: str, trained_from: str) -> dict[str, str] | None:
    """Return the checkpoint that a member's training started from.

    ``trained_from`` is what the training recorded: ``name@commit`` of one on the Hub.
    """
    try:
        text = (project.base_folder(member) / "checkpoint.json").read_text(encoding="utf-8")
    except OSError:
        return None
    values = json.loads(text)
    name, md5 = values["checkpoint"], values["md5"] or ""
    if not name:
        return None
    _, _, commit = trained_from.partition("@")
    if not md5 and not commit:
        commit = cached_hub_commit(name, values.get("revision"))
    return asdict(Base(checkpoint=name, commit="" if md5 else commit, md5=md5))


def _read_data() -> tuple[list[DataFile], dict[str, int]]:
    """Return the data files with their rows, and the rows of each split, from the report of `prepare`."""
    try:
        report = json.loads(project.PREPARE_REPORT.read_text(encoding="utf-8"))
    except OSError:
        return [], {}
    splits = {name: split["rows"] for name, split in report["splits"].items()}
    files = []
    for name, file in report["files"].items():
        # What a split says it is from is the path of its own file.
        path = Path(report["splits"][name]["from"])
        md5 = tracked.digest(path) if path.is_file() else ""
        files.append(DataFile(name=name, path=path.as_posix(), rows=file["rows_in"], md5=md5))
    return files, splits


def cached_hub_commit(checkpoint: str, revision: str | None = None) -> str:
    """Return the commit of a checkpoint in the Hugging Face cache of this machine; empty if it is not there."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    from yoyak.models import catalog

    try:
        path = try_to_load_from_cache(catalog.checkpoint(checkpoint), "config.json", revision=revision or "main")
    except HFValidationError:
        return ""
    return Path(path).parent.name if isinstance(path, str) else ""
