"""Gate decides nothing before a promotion: no fit, no choice and no other score depends on it or on its references."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from ensemble.ensemble_rows import row_of, write_members
from yoyak import params
from yoyak.data.records import Dialogue, read_jsonl, write_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.ensemble.combine import FILE
from yoyak.ensemble.evaluate import score_pipeline
from yoyak.params.stages import EvaluateParams
from yoyak.scoring.results import EvaluationSummary, read_evaluation
from yoyak.stages import ensemble

WORDS = list("가나다라마바사아자차")
NOISE = {"good": 0.1, "fair": 0.4, "bad": 0.8}
STRATEGIES = {
    "weighted": {"type": "weighted"},
    "mbr": {"type": "mbr", "candidates": 2},
    "stack": {"type": "stack", "folds": 4, "rankers": ["ridge"], "likelihoods": False},
}


def write_split(split: str, count: int, seed: int) -> None:
    """Write the dialogues of a split and the candidates of a good, a fair and a bad member."""
    draw = np.random.default_rng(seed)
    dialogues, rows = [], []
    for number in range(count):
        truth = draw.choice(WORDS, size=8)
        texts = {
            member: [" ".join(np.where(draw.random(8) < noise, draw.choice(WORDS, size=8), truth)) for _ in range(3)]
            for member, noise in NOISE.items()
        }
        fname, dialogue = f"{split}_{number}", f"#Person1#: {number}"
        kind = ("seen", "unseen")[number % 2] if split != "dev" else ""
        dialogues.append(Dialogue(fname=fname, dialogue=dialogue, summaries=(" ".join(truth),), slice=kind))
        rows.append(row_of(fname, dialogue, **texts))
    write_jsonl(Path(f"prepared/eval/{split}.jsonl"), dialogues)
    write_members(Path("predictions"), split, rows)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What the pipeline makes of the splits, and its scores on gate, which are no part of a comparison."""

    combiners: Mapping[str, str]
    choices: Mapping[str, str]
    best: tuple[str | None, ...]
    scores: Mapping[tuple[str, ...], Any]
    comparisons: Mapping[tuple[str, ...], Any]
    analysis: Any
    logged: Any
    samples: Any
    metrics: Mapping[str, Any]

    def differences(self, other: Results) -> list[str]:
        mine, theirs = asdict(self), asdict(other)
        return [name for name in mine if mine[name] != theirs[name]]


def run_pipeline() -> Results:
    for name in STRATEGIES:
        ensemble.run(name)
    found = score_pipeline(params.load(EvaluateParams))
    summary = read_evaluation("evaluation")
    return Results(
        combiners={name: Path("ensembles", name, FILE).read_text() for name in STRATEGIES},
        choices={
            f"{name} {split}": Path("ensembles", name, f"{split}.jsonl").read_text()
            for name in STRATEGIES
            for split in ("dev", "test")
        },
        best=(summary.best_member, summary.best_ensemble, summary.best_baseline),
        scores=scores_of(summary),
        comparisons={
            (each.system, each.against, each.part.label, each.metric): (each.gain, each.p_value)
            for each in summary.comparisons
        },
        analysis=json.loads(Path("evaluation/ensembles.json").read_text()),
        logged=found.metrics(),
        samples=found.samples,
        metrics={path.name: json.loads(path.read_text()) for path in Path("metrics/scores").iterdir()},
    )


def scores_of(summary: EvaluationSummary) -> dict[tuple[str, ...], Any]:
    return {
        (each.system, each.part.label, each.granularity, each.multi_reference, each.metric): each.interval
        for each in summary.scores
        if each.part.split != "gate"
    }


def mean_on_gate(system: str) -> float:
    with Path("evaluation/dialogues.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row["split"], row["system"]) == ("gate", system)]
    return float(np.mean([float(row["combined"]) for row in rows]))


@pytest.mark.usefixtures("store", "project")
def test_nothing_depends_on_gate_or_its_references() -> None:
    member = {"family": "seq2seq", "checkpoint": "local", "learning_rate": 0.001}
    tree = {
        "seed": 20,
        "members": {name: dict(member) for name in NOISE},
        "ensemble": {"granularity": "eojeol", "strategies": STRATEGIES},
        "scoring": {"granularities": ["eojeol"], "bootstrap_samples": 100},
    }
    with Path("params.yaml").open("w", encoding="utf-8") as out:
        YAML().dump(tree, out)
    write_split("dev", 20, 2)
    write_split("test", 10, 3)
    without = run_pipeline()
    assert without.best[0] == "good"

    write_split("gate", 12, 4)
    gated = run_pipeline()
    assert not gated.differences(without)
    assert mean_on_gate("good") > mean_on_gate("bad")

    # The references are now what the worst member writes, so that whatever looked at them would prefer it.
    path = Path("prepared/eval/gate.jsonl")
    worst = read_candidates(Path("predictions/bad/gate.jsonl"))
    write_jsonl(path, [replace(each, summaries=(worst[each.fname][0].text,)) for each in read_jsonl(path)])
    scrambled = run_pipeline()
    assert not scrambled.differences(without)
    assert mean_on_gate("bad") == pytest.approx(1.0)
