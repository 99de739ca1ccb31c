"""A git and DVC repository with three commits: results, other results, and a change whose results are not made yet."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mlflow_helpers import git
from reporting.reporting_project import write_curves, write_project
from yoyak.behaviour.results import Behaviour, make_rate, write_behaviour
from yoyak.files import write_json
from yoyak.scoring.results import read_evaluation
from yoyak.scoring.systems import BEST_BASELINE

MAIN = """
stages:
  prepare:
    cmd: 'false'
    deps: [data, src]
    outs: [prepared]
  train:
    foreach: ${members}
    do:
      cmd: 'false'
      deps: [prepared/train.jsonl]
      params: ['members.${key}']
      outs: ['training/${key}.json']
      plots: [{'plots/curves_${key}.csv': {cache: false}}]
  predict:
    foreach: ${members}
    do:
      cmd: 'false'
      deps: [prepared/eval, 'training/${key}.json']
      outs: ['predictions/${key}']
  evaluate:
    cmd: 'false'
    deps: [predictions, prepared/eval]
    params: [scoring]
    outs: [evaluation]
    metrics: [{metrics/scores: {cache: false}}]
  behaviour:
    cmd: 'false'
    deps: [predictions]
    outs: [behaviour]
"""
EXPORT = """
stages:
  bench:
    cmd: 'false'
    wdir: ..
    deps: [predictions]
    outs: [bench/figures.json]
    metrics: [{metrics/bench.json: {cache: false}}]
"""
OUTPUTS = "prepared predictions evaluation behaviour training bench registry ensembles logs data"
IGNORED = "".join(f"/{name}\n" for name in OUTPUTS.split())
MARKER = "<b>@everyone</b> | `x`"


def write_results(root: Path, members: tuple[str, str], *, processor: str, made_up: int, latency: float) -> None:
    """Write what the stages would; of the members, the first one writes the better summaries."""
    for name in ("prepared", "predictions", "evaluation", "behaviour", "training", "plots", "metrics", "bench"):
        shutil.rmtree(root / name, ignore_errors=True)
    write_project(root, members=members)
    (root / "prepared/train.jsonl").write_text("{}\n")
    for index, member in enumerate(members):
        write_curves(root / f"plots/curves_{member}.csv", [(step, step, 9 / (step + index), True) for step in (5, 9)])
        write_behaviour(
            root / f"behaviour/{member}.json",
            Behaviour(
                member=member,
                cases=("ko",),
                confidence=0.95,
                rates={"names_made_up": make_rate("names_made_up", made_up, 40, 0.95)},
                references={},
                failures=(),
            ),
        )
    summary = read_evaluation(root / "evaluation")
    for name, system in {**dict(zip(members, members, strict=True)), BEST_BASELINE: summary.best_baseline}.items():
        means = {
            split: scores["combined"] for split, scores in summary.primary_means(system).items() if split != "gate"
        }
        write_json(root / f"metrics/scores/{name}.json", means)
    write_json(root / "metrics/bench.json", {"speedup": 40 / latency, "rouge_change": 0.001})
    write_json(root / "bench/figures.json", bench(processor, latency))


def bench(processor: str, latency: float) -> dict[str, Any]:
    """Return what bench/figures.json holds."""
    machine = {
        "processor": processor, "cores": 2, "system": "Linux", "host": "h", "python": "3.11", "onnxruntime": "1",
        "torch": "2", "transformers": "4",
    }  # fmt: skip
    cell = {
        "variant": "exported", "batch_size": 8, "beams": 4, "samples_per_second": 1.0, "rounds": [1.0], "ratio": 2.0,
        "p50_ms": latency, "p95_ms": latency, "batches": 1, "tokens_per_sample": 5.0, "peak_mb": 9.0, "threads": None,
    }  # fmt: skip
    rouge = {"exported": 0.5, "fp32": 0.5, "difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0, "n": 8}
    return {
        "model": "bart", "precision": "int8", "export_md5": "0", "machine": machine, "dialogues": 8, "repeats": 1,
        "max_new_tokens": 8, "variants": {}, "failed": {}, "cells": [cell],
        "search": {"batch_size": 8, "beams": 4, "configured": True, "memory_limit_mb": 9.0, "tried": []},
        "rounds": {},
        "quality": {
            "fp32_source": "predictions of the pipeline", "granularity": "eojeol", "n": 8, "confidence": 0.95,
            "different_texts": 0, "metrics": {"combined": rouge},
        },
        "gate": {
            "speed": {"passed": True, "sentence": "", "comparison": None},
            "rouge": {"passed": True, "sentence": "", "max_rouge_drop": 0.1, "comparison": rouge},
        },
        "float_operators": {
            "bytes_by_type": {}, "float_bytes_by_op": {}, "float_weights": 0, "products_of_activations": 0
        },
    }  # fmt: skip


def write_data(root: Path, rows: dict[str, str]) -> None:
    """Write the training file; its name is the default of data.files."""
    (root / "data").mkdir(exist_ok=True)
    with (root / "data/train.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["fname", "dialogue", "summary"])
        writer.writerows([name, text, "요약"] for name, text in rows.items())


def edit_params(root: Path, **changes: Any) -> None:
    """Change top-level keys of params.yaml, which is JSON here."""
    path = root / "params.yaml"
    write_json(path, {**json.loads(path.read_text(encoding="utf-8")), **changes})


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the tags old, new and stale; all its outputs are in the DVC cache. Tests only read it."""
    from dvc.repo import Repo

    root = tmp_path_factory.mktemp("revisions")
    (root / "src/yoyak/models").mkdir(parents=True)
    (root / "export").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        git("init", "-q", "-b", "main")
        Repo.init(str(root)).close()

        def commit(tag: str, order: tuple[str, str], rows: dict[str, str], code: str, **results: Any) -> None:
            write_results(root, order, **results)
            scoring = {"granularities": ["eojeol", "syllable"], "bootstrap_samples": 200}
            edit_params(root, seed=len(rows), scoring=scoring)
            (root / "dvc.yaml").write_text(MAIN)
            (root / "export/dvc.yaml").write_text(EXPORT)
            (root / "src/yoyak/models/load.py").write_text(code)
            write_data(root, rows)
            with Repo(str(root)) as repo:
                repo.add(["data"])
                repo.commit(force=True)
            git("add", "-A")
            git("commit", "-q", "-m", tag)
            git("tag", tag)

        (root / ".gitignore").write_text(IGNORED)
        commit("old", ("bart", "t5"), {"a": "1", "b": "2", "c": "3"}, "x = 1\n", processor="a", made_up=4, latency=20.0)
        commit(
            "new", ("t5", "bart"), {"a": "1", "b": MARKER, "d": "4", "e": "5"}, "x = 1\ny = 2\n", processor="a",
            made_up=30, latency=10.0,
        )  # fmt: skip
        tree = json.loads((root / "params.yaml").read_text(encoding="utf-8"))
        tree["members"]["bart"]["learning_rate"] = 0.5
        write_json(root / "params.yaml", tree)
        git("commit", "-q", "-a", "-m", "stale")
        git("tag", "stale")
    return root
