"""Registering the exported model, and letting `serving` point to it, or to the same model in fp32.

Which of them is served is what bench/serving.json says: the gate has decided there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak import project
from yoyak.data.records import read_jsonl
from yoyak.errors import UserError
from yoyak.params.stages import ReleaseParams
from yoyak.registration.packaging import log_exported, log_member, writing
from yoyak.registry import deployment, promotion
from yoyak.registry.versions import Version
from yoyak.tracking import lineage, restore, runs
from yoyak.tracking.client import connect
from yoyak.tracking.stage_run import flatten

MD5, SOURCE_MD5 = "yoyak.export_md5", "dvc.models_md5"
"""Tags of a version: what an exported model is made of and how it writes and serves; DVC's md5 of one in fp32."""
VARIANTS = {"int8": "int8", "int4": "int4", "fp32": "onnx_fp32"}
BENCH = project.BENCH / "serving.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """What `release` did."""

    exported: Version
    before: Version | None
    """The version that was served before; None where none was."""
    after: Version
    """The version that is served now."""
    sentences: tuple[str, ...]
    """The gate's."""


def release(p: ReleaseParams, mark: str) -> Release:
    """Register the exported model and move the alias; doing it twice changes nothing.

    Args:
        p: The stage's params.
        mark: Left as a tag once all is done.

    Raises:
        UserError: The bench has not run, or measured another export.
    """
    bench = _bench()
    name = str(bench["model"])
    folder = project.export_folder(name)
    exported_md5 = lineage.digest(folder)
    if exported_md5 != bench["export_md5"]:
        raise UserError(f"{BENCH} is of another export than {folder}: run `yoyak bench`.")
    settings = p.serving.model_dump()
    if settings["batch_size"] == "bench":
        settings["batch_size"] = bench["batch_size"]
    source_folder = _source(name)
    example = read_jsonl(project.DEV_SPLIT)[0].dialogue
    source = _fp32(name, source_folder, p, example)
    exported = _exported(bench, folder, source, settings, p, example)
    before = deployment.serving_version(p.registry_name)
    figures: Mapping[str, Any] = bench["gate"]["figures"]
    if before is None:
        # What fp32 would have served is what undoing the first release comes back to.
        deployment.serve(source, release=mark)
    chosen = exported if bench["gate"]["passed"] else source
    deployment.serve(chosen, release=mark, gate=figures)
    after = deployment.serving_version(p.registry_name)
    assert after, "one is served now"
    deployment.mark(exported, mark)
    sentences = tuple(str(one) for one in bench["gate"]["sentences"])
    return Release(exported=exported, before=before, after=after, sentences=sentences)


def _bench() -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(BENCH.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{BENCH} is missing: run `yoyak bench` first, or `dvc repro export/dvc.yaml`.") from None
    except ValueError as error:
        raise UserError(f"{BENCH} is no JSON ({error}): run `yoyak bench` again.") from error
    return value


def _source(name: str) -> Path:
    folder = project.model_folder(name)
    return folder if folder.is_dir() else project.soup_folder(name)


def _exported(
    bench: Mapping[str, Any], folder: Path, source: Version, settings: Mapping[str, Any], p: ReleaseParams, example: str
) -> Version:
    """Return the exported model's version, with what the bench found as tags; its model is logged if it is not yet."""
    how = json.dumps({"generation": p.generation.model_dump(), "serving": dict(settings)}, sort_keys=True)
    md5 = hashlib.md5(f"{bench['export_md5']} {how}".encode()).hexdigest()
    known = promotion.find_version(p.registry_name, MD5, md5)
    if known is not None and restore.has_files(connect(), known.model_id):
        model_id, run_id = known.model_id, known.run_id
    else:
        params = {"generation": p.generation, "serving": dict(settings)}
        inputs = {folder.as_posix(): str(bench["export_md5"])}
        with runs.stage_run("release", member=str(bench["model"]), params=params, inputs=inputs) as run:
            with writing(folder, p.generation) as view:
                model_id = log_exported(run, view, serving=settings, example=example)
            run_id = run.run_id
    tags = {
        "variant": VARIANTS[str(bench["precision"])],
        "member": str(bench["model"]),
        "git.commit": lineage.git().commit or "none",
        "source.version": f"{source.name}/{source.version}",
        "source.run_id": source.run_id,
        MD5: md5,
        **flatten({"bench": bench["bench"], "gate": bench["gate"]["figures"], "serving": dict(settings)}),
        promotion.DEV_SCORE: str(bench["gate"]["figures"]["rouge.exported"]),
    }
    return deployment.register_version(p.registry_name, model_id=model_id, run_id=run_id, tags=tags)


def _fp32(name: str, folder: Path, p: ReleaseParams, example: str) -> Version:
    """Return the version of ``p.registry_name`` that is the same model in torch, which is served where the gate fails.

    It is the one that `register` made; a member that was not the best has one under its own name only, whose model
    gets a version here too. A soup that `register` was not told to register is logged.
    """
    try:
        rows = json.loads(project.REGISTERED.read_text(encoding="utf-8"))["registered"]
    except (OSError, ValueError, KeyError):
        raise UserError(f"{project.REGISTERED} is missing or damaged: run `yoyak register` first.") from None
    versions = {row["name"]: int(row["version"]) for row in rows if row["member"] == name}
    if p.registry_name in versions:
        return deployment.get_version(p.registry_name, versions[p.registry_name])
    md5 = lineage.digest(folder)
    tags = {"variant": "fp32", "member": name, SOURCE_MD5: md5}
    own = f"{p.registry_name}-{name}"
    if own in versions:
        found = deployment.get_version(own, versions[own])
        return deployment.register_version(p.registry_name, model_id=found.model_id, run_id=found.run_id, tags=tags)
    how = hashlib.md5((md5 + p.generation.model_dump_json()).encode()).hexdigest()
    known = promotion.find_version(p.registry_name, MD5, how)
    if known is not None and restore.has_files(connect(), known.model_id):
        return known
    inputs = {folder.as_posix(): md5}
    with runs.stage_run("release", member=name, params={"generation": p.generation}, inputs=inputs) as run:
        with writing(folder, p.generation) as view:
            model_id = log_member(run, view, example=example)
        run_id = run.run_id
    tags |= {"variant": "soup", MD5: how}
    return deployment.register_version(p.registry_name, model_id=model_id, run_id=run_id, tags=tags)
