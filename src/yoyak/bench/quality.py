"""How much ROUGE the exported model loses on the whole dev set, compared with the same model in fp32."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from yoyak import project
from yoyak.bench.results import FloatOperators, Fp32Source, Quality, RougeComparison
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import read_candidates
from yoyak.params import Generation, Scoring
from yoyak.tracking import lineage


def read_evaluated_texts(member: str, dev: Sequence[Dialogue], generation: Generation) -> list[str] | None:
    """Return the best summary of each dev dialogue that `predict` wrote, the one that was evaluated.

    Returns None if the model is not a member of the pipeline, or if dvc.lock does not confirm that the predictions were
    written by this model, for these dialogues, with these generation settings.
    """
    folder = project.predictions_folder(member)
    if not (folder / "dev.jsonl").is_file() or not project.DVC_LOCK.is_file():
        return None
    from ruamel.yaml import YAML

    entry = YAML(typ="safe").load(project.DVC_LOCK).get("stages", {}).get(f"predict@{member}", {})
    locked = {row["path"]: row["md5"] for row in (*entry.get("deps", ()), *entry.get("outs", ())) if "md5" in row}
    # DVC records only the values set in params.yaml; the rest were defaults.
    recorded = Generation(**entry.get("params", {}).get("params.yaml", {}).get("generation", {}))
    paths = (folder, project.model_folder(member), project.EVAL_SPLITS)
    if recorded != generation or any(locked.get(str(path)) != lineage.digest(path) for path in paths):
        return None
    rows = read_candidates(folder / "dev.jsonl")
    # With test-time augmentation (ensemble.tta), use only summaries of the original dialogue.
    return [next(candidate.text for candidate in rows[row.fname] if candidate.view == 0) for row in dev]


def compare(
    exported: Sequence[str],
    fp32: Sequence[str],
    dev: Sequence[Dialogue],
    scoring: Scoring,
    *,
    fp32_source: Fp32Source,
    confidence: float,
    seed: int,
) -> Quality:
    """Return the mean ROUGE of both, the paired differences by metric, and how many summaries differ."""
    from yoyak.scoring.bootstrap import paired_bootstrap
    from yoyak.scoring.metrics import METRICS
    from yoyak.scoring.rouge import rouge

    def score(texts: Sequence[str]) -> dict[str, np.ndarray]:
        return rouge(
            texts,
            [row.summaries for row in dev],
            granularity=scoring.granularities[0],
            multi_reference=scoring.multi_reference,
            weights=scoring.weights,
        )

    exported_scores, fp32_scores = score(exported), score(fp32)
    metrics = {}
    for metric in METRICS:
        first, second = exported_scores[metric], fp32_scores[metric]
        difference = paired_bootstrap(
            first, second, samples=scoring.bootstrap_samples, confidence=confidence, seed=seed
        )
        metrics[metric] = RougeComparison(exported=float(first.mean()), fp32=float(second.mean()), **asdict(difference))
    return Quality(
        fp32_source=fp32_source,
        granularity=scoring.granularities[0],
        n=len(dev),
        confidence=confidence,
        different_texts=sum(a != b for a, b in zip(exported, fp32, strict=True)),
        metrics=metrics,
    )


def read_float_operators(folder: Path) -> FloatOperators:
    """Read which operators of an exported model stayed in float, from its ops.json."""
    ops = json.loads((folder / "ops.json").read_text(encoding="utf-8"))
    return FloatOperators(
        bytes_by_type=ops["bytes_by_type"],
        float_bytes_by_op=ops["float_bytes_by_op"],
        float_weights=len(ops["float_weights"]),
        products_of_activations=len(ops["float_products_of_activations"]),
    )
