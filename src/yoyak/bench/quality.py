"""What the exported model's summaries lose against those of the same model in fp32, on all of dev."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from yoyak import project
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import read_candidates
from yoyak.params import Generation, Scoring
from yoyak.tracking import lineage


def evaluated_texts(member: str, dev: Sequence[Dialogue], generation: Generation) -> list[str] | None:
    """Return the best summary of each dev dialogue that `predict` wrote, which are those that were evaluated.

    None where that model is no member of the pipeline, or dvc.lock does not say that these predictions are of this
    model, these dialogues and this way of writing.
    """
    folder = project.predictions_folder(member)
    if not (folder / "dev.jsonl").is_file() or not project.DVC_LOCK.is_file():
        return None
    from ruamel.yaml import YAML

    entry = YAML(typ="safe").load(project.DVC_LOCK).get("stages", {}).get(f"predict@{member}", {})
    locked = {row["path"]: row["md5"] for row in (*entry.get("deps", ()), *entry.get("outs", ())) if "md5" in row}
    # DVC notes the values that params.yaml holds; the others were the defaults.
    written = Generation(**entry.get("params", {}).get("params.yaml", {}).get("generation", {}))
    wanted = (folder, project.model_folder(member), project.EVAL_SPLITS)
    if written != generation or any(locked.get(str(path)) != lineage.digest(path) for path in wanted):
        return None
    rows = read_candidates(folder / "dev.jsonl")
    # Of a dialogue that was read in several versions (ensemble.tta), the summary of it as it is.
    return [next(one.text for one in rows[row.fname] if one.view == 0) for row in dev]


def compare(
    exported: Sequence[str],
    fp32: Sequence[str],
    dev: Sequence[Dialogue],
    scoring: Scoring,
    *,
    confidence: float,
    seed: int,
) -> dict[str, Any]:
    """Return mean ROUGE of both and the paired difference, exported less fp32, by metric, and how many texts differ."""
    from yoyak.scoring.bootstrap import paired_bootstrap
    from yoyak.scoring.metrics import METRICS
    from yoyak.scoring.rouge import rouge

    def score(texts: Sequence[str]) -> dict[str, Any]:
        return rouge(
            texts,
            [row.summaries for row in dev],
            granularity=scoring.granularities[0],
            multi_reference=scoring.multi_reference,
            weights=scoring.weights,
        )

    own, other = score(exported), score(fp32)
    metrics = {}
    for name in METRICS:
        found = paired_bootstrap(
            own[name], other[name], samples=scoring.bootstrap_samples, confidence=confidence, seed=seed
        )
        metrics[name] = {
            "exported": float(own[name].mean()),
            "fp32": float(other[name].mean()),
            **asdict(found),
        }
    return {
        "granularity": scoring.granularities[0],
        "n": len(dev),
        "confidence": confidence,
        "different_texts": sum(one != two for one, two in zip(exported, fp32, strict=True)),
        "metrics": metrics,
    }


def read_ops(folder: Path) -> dict[str, Any]:
    """Return what stayed in float, in short: bytes by type of number, by operator, and products of activations."""
    ops: dict[str, Any] = json.loads((folder / "ops.json").read_text(encoding="utf-8"))
    return {
        "bytes_by_type": ops["bytes_by_type"],
        "float_bytes_by_op": ops["float_bytes_by_op"],
        "float_weights": len(ops["float_weights"]),
        "products_of_activations": len(ops["float_products_of_activations"]),
    }
