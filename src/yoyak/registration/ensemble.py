"""Registering an ensemble of a pipeline's members as one model, which says of which versions it is made."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoyak import project
from yoyak.params.ensemble import Soft, Soup
from yoyak.params.stages import RegisterParams
from yoyak.registration.packaging import log_member, log_model, writing
from yoyak.registry import promotion
from yoyak.registry.promotion import Version
from yoyak.tracking import lineage, runs
from yoyak.tracking.stage_run import StageRun

MD5 = "yoyak.ensemble_md5"
"""Tag of a version: what it is made of and how it writes."""


def register_ensemble(
    p: RegisterParams, versions: Mapping[str, Version], scores: Mapping[str, float], example: str
) -> Version:
    """Return the version of ``p.registry.name`` that is the ensemble ``p.registry.ensemble``; made if there is none.

    Args:
        versions: The members' versions, by member.
        scores: The ensemble's scores, kept as tags.
        example: A dialogue.
    """
    name = str(p.registry.ensemble)
    strategy, folder = p.ensemble.every[name], project.ensemble_folder(name)
    info: dict[str, Any] = json.loads((folder / "info.json").read_text(encoding="utf-8"))
    members = [str(member) for member in info["members"]]
    parts = [lineage.digest(path) for path in (folder, *(project.model_folder(member) for member in members))]
    md5 = hashlib.md5(" ".join([*parts, p.generation.model_dump_json()]).encode()).hexdigest()
    tags = {
        "git.commit": lineage.git().commit,
        "strategy": strategy.type,
        MD5: md5,
        **{f"member.{member}": f"{versions[member].name}/{versions[member].version}" for member in members},
    }
    known = promotion.find_version(p.registry.name, MD5, md5)
    if known is not None:
        model_id, run_id = known.model_id, known.run_id
    else:
        inputs = lineage.digests([folder, *(project.model_folder(member) for member in members)])
        params = {"ensemble": strategy, "generation": p.generation}
        with runs.stage_run("register", member=name, params=params, inputs=inputs) as run:
            model_id, run_id = _log(run, name, strategy, folder, info, p, versions, example), run.run_id
    return promotion.register_ensemble(
        p.registry.name,
        variant="soup" if isinstance(strategy, Soup) else "ensemble",
        model_id=model_id,
        run_id=run_id,
        scores=scores,
        tags=tags,
    )


def _log(
    run: StageRun,
    name: str,
    strategy: Any,
    folder: Path,
    info: Mapping[str, Any],
    p: RegisterParams,
    versions: Mapping[str, Version],
    example: str,
) -> str:
    if isinstance(strategy, Soup):
        with writing(project.soup_folder(name), p.generation) as view:
            return log_member(run, view, example=example)
    from yoyak.ensemble import combine
    from yoyak.ensemble.summarizer import save_ensemble

    weights: Mapping[str, float] = info["weights"]
    used = {member: project.model_folder(member) for member in info["members"]}
    shown = {
        member: {"name": versions[member].name, "version": versions[member].version, "run_id": versions[member].run_id}
        for member in used
    }
    soft = isinstance(strategy, Soft)
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        made = Path(temporary, "ensemble")
        save_ensemble(
            made,
            used,
            p.generation,
            shown,
            combiner=None if soft else combine.load(folder),
            soft=weights if soft else None,
        )
        about = {"ensemble": name, "strategy": strategy.type, "members": shown}
        return log_model(run, made, name=name, generation=p.generation, example=example, about=about)
