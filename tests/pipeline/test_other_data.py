"""The whole pipeline, with tiny models, on files of other people as they are: nothing but params.yaml is changed."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.conftest import ROOT, shrink
from yoyak.decoding.candidates import read_candidates
from yoyak.stages import base, ensemble, evaluate, predict, prepare, register, report, score_candidates, train

SHARED = ROOT.parent / "shared" / "data"
SETS: dict[str, dict[str, Any]] = {
    "mts_dialog": {
        "files": {
            "train": "MTS-Dialog-TrainingSet.csv",
            "dev": "MTS-Dialog-ValidationSet.csv",
            "test": "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",
        },
        "columns": {"id": "ID", "dialogue": "dialogue", "summary": "section_text", "topic": "section_header"},
    },
    "dialogsum": {"files": {"train": "dialogsum.dev.jsonl"}},
}
KEPT = {"mts_dialog": {"train": 1197, "dev": 100, "test": 200}, "dialogsum": {"train": 390, "dev": 51, "test": 59}}


@pytest.mark.slow
@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("name", SETS)
def test_the_pipeline_takes_it(name: str, project: Path) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"../shared/data/{name} is absent")
    tree = YAML(typ="safe").load(ROOT / "params.yaml")
    shrink(tree)
    tree["data"] = {"folder": str(SHARED / name), **SETS[name]}
    tree["scoring"]["granularities"] = ["english"]
    tree["ensemble"]["granularity"] = "english"
    for member in tree["members"].values():
        member["num_epochs"] = 0.5
    with (project / "params.yaml").open("w") as out:
        YAML().dump(tree, out)

    prepare.run()
    for member in tree["members"]:
        base.run(member)
        train.run(member)
        predict.run(member)
    score_candidates.run()
    for strategy in tree["ensemble"]["strategies"]:
        ensemble.run(strategy)
    evaluate.run()
    register.run()
    report.run()

    prepared = json.loads(Path("prepared/report.json").read_text())
    assert {split: figures["rows"] for split, figures in prepared["splits"].items()} == KEPT[name]
    assert {unit for split in KEPT[name] for unit in prepared["lengths"][split]["summary"]} == {
        "characters",
        "bpe tokens",
        "unigram tokens",
    }
    for member in tree["members"]:
        for split in ("dev", "test"):
            assert len(read_candidates(Path("predictions", member, f"{split}.jsonl"))) == KEPT[name][split]
    with Path("evaluation/dialogues.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    test = [row for row in rows if row["split"] == "test"]
    means = {name: sum(float(row["combined"]) for row in test if row["system"] == name) for name in ("oracle", "lead3")}
    assert means["oracle"] > means["lead3"] > 0
    assert "<svg" in Path("report/index.html").read_text()
    assert {row["member"] for row in json.loads(Path("registry/registered.json").read_text())["registered"]} == {
        *tree["members"],
        tree["registry"]["ensemble"],
    }
