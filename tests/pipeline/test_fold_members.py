"""The members of a k-fold training go through the whole pipeline, and what they hold out is never taken for dev."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from pipeline.conftest import ROOT, shrink
from yoyak.data.folding import hold_out
from yoyak.data.records import read_jsonl
from yoyak.data.samples import write_corpus
from yoyak.decoding.candidates import read_candidates
from yoyak.ensemble import weights
from yoyak.ensemble.target import score_texts
from yoyak.project import DEV_SPLIT, EVAL_SPLITS, TRAIN_SPLIT, training_file, training_metrics_file
from yoyak.stages import (
    base,
    blend,
    check,
    ensemble,
    evaluate,
    fold,
    predict,
    prepare,
    register,
    report,
    train,
)

pytestmark = pytest.mark.slow

PARTS = 3
FOLDS = [f"bart_fold{index}" for index in range(1, PARTS + 1)]
CANDIDATES = {
    "weighted": {"type": "weighted", "weights": "dev"},
    "mbr": {"type": "mbr", "utility": "rouge", "weights": "dev"},
    "stack": {"type": "stack", "rankers": ["ridge"], "likelihoods": False},
}
MODELS = {
    "soft": {"type": "soft", "members": FOLDS, "weights": "dev"},
    "soup": {"type": "soup", "members": FOLDS, "method": "greedy"},
}


def write_params(text: str) -> None:
    tree: dict[str, Any] = YAML(typ="safe").load(text)
    shrink(tree)
    tree["members"] = {"bart": tree["members"]["bart"]}
    tree["ensemble"] |= {"strategies": CANDIDATES, "models": {}}
    tree["registry"]["ensemble"] = "mbr"
    del tree["data"]["files"]["handwritten"]
    write_tree(tree)


def write_tree(tree: dict[str, Any]) -> None:
    with Path("params.yaml").open("w") as out:
        YAML().dump(tree, out)


def combine() -> dict[str, bytes]:
    """Run what learns from dev and what scores, and return all that it wrote."""
    for name in CANDIDATES:
        ensemble.run(name)
    evaluate.run()
    files = [path for folder in ("ensembles", "evaluation", "metrics/scores") for path in Path(folder).rglob("*")]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


def dev_scores(members: list[str]) -> dict[str, np.ndarray]:
    """The combined ROUGE of each member's best candidate of each dialogue of dev."""
    dev = read_jsonl(DEV_SPLIT)
    scores = {}
    for member in members:
        written = read_candidates(Path("predictions", member, "dev.jsonl"))
        texts = [written[row.fname][0].text for row in dev]
        scores[member] = score_texts(texts, [row.summaries for row in dev], "morpheme")
    return scores


def test_folds_are_trained_combined_scored_and_registered(store: MlflowClient, project: Path) -> None:
    write_corpus(project / "data", train=40, dev=10, test=6, gate=6, seed=1)
    write_params((ROOT / "params.yaml").read_text())
    fold.run("bart", PARTS)
    tree = YAML(typ="safe").load(Path("params.yaml"))
    # `bart` is left out, as a person who replaces it does.
    del tree["members"]["bart"]
    tree["ensemble"]["models"] = MODELS
    write_tree(tree)
    assert list(tree["members"]) == FOLDS

    prepare.run()
    check.run()
    for member in FOLDS:
        base.run(member)
        train.run(member)
        predict.run(member)

    # What each was trained on is a part of train, and all that is predicted is in no part of it.
    rows = read_jsonl(TRAIN_SPLIT)
    held_out = {member: hold_out(rows, index, PARTS)[1] for index, member in enumerate(FOLDS, 1)}
    assert sorted(row.fname for part in held_out.values() for row in part) == sorted(row.fname for row in rows)
    training_dialogues = {row.dialogue for row in rows}
    for split in EVAL_SPLITS.glob("*.jsonl"):
        evaluated = read_jsonl(split)
        assert not training_dialogues & {row.dialogue for row in evaluated}
        for member in FOLDS:
            assert [*read_candidates(Path("predictions", member, split.name))] == [row.fname for row in evaluated]
    experiments = [experiment.experiment_id for experiment in store.search_experiments()]
    runs = store.search_runs(experiments)
    for member in FOLDS:
        [run] = [run for run in runs if run.info.run_name == f"train {member}"]
        assert run.inputs is not None
        used = {
            entry.dataset.name: json.loads(str(entry.dataset.profile))["num_rows"]
            for entry in run.inputs.dataset_inputs
        }
        assert used == {
            f"train without fold {member[-1]} of {PARTS}": len(rows) - len(held_out[member]),
            f"train fold {member[-1]} of {PARTS}": len(held_out[member]),
        }

    for name in MODELS:
        blend.run(name)
    outcome = combine()

    # Weights are those of the scores on dev, for all of it, of members that have seen none of it.
    expected = weights.by_score({member: float(values.mean()) for member, values in dev_scores(FOLDS).items()})
    for name in ("weighted", "mbr"):
        combiner = json.loads(Path("ensembles", name, "combiner.json").read_text())
        assert combiner["weights"] == pytest.approx(expected)
        assert json.loads(Path("ensembles", name, "info.json").read_text())["cross_fitted"]
    stack = json.loads(Path("ensembles/stack/combiner.json").read_text())
    assert stack["weights"] == pytest.approx(expected)
    assert stack["reranker"]["member"] in FOLDS
    soft = json.loads(Path("ensembles/soft/info.json").read_text())
    assert soft["weights"] == pytest.approx(weights.by_score(soft["dev_scores"]), abs=1e-4)
    soup = json.loads(Path("ensembles/soup/info.json").read_text())
    assert soup["members"] == FOLDS
    assert soup["cross_fitted"]

    # Their scores on what they hold out change nothing.
    for member in FOLDS:
        for path in (training_file(member), training_metrics_file(member)):
            figures = json.loads(path.read_text())
            path.write_text(json.dumps({**figures, "eval_combined": 0.99 if member == FOLDS[-1] else 0.0}))
    assert combine() == outcome
    summary = json.loads(Path("evaluation/summary.json").read_text())
    means = {member: float(values.mean()) for member, values in dev_scores(FOLDS).items()}
    assert means[summary["best_member"]] == pytest.approx(max(means.values()))

    register.run()
    report.run()
    names = {model.name for model in store.search_registered_models()}
    assert names == {"yoyak", *(f"yoyak-{member}" for member in FOLDS)}
    registered = json.loads(Path("registry/registered.json").read_text())
    assert {entry["member"] for entry in registered["registered"]} == {*FOLDS, "mbr"}

    # The report does not put them beside scores on dev.
    for page in (Path("report/index.html"), Path("report/report.md")):
        text = page.read_text()
        assert "dev combined" not in text
        assert "held out" in text
        assert all(member in text for member in FOLDS)
