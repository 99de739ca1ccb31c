"""A project with git, DVC and a registered version, whose stages take no time: the models are eight numbers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from mlflow_helpers import git
from yoyak.registry.lineage_record import version_tags
from yoyak.tracking import client, runs

MAKE = """
import json, sys, time
from pathlib import Path
import numpy as np
from ruamel.yaml import YAML
from safetensors.numpy import load_file, save_file

stage, member = sys.argv[1], sys.argv[-1]
params = YAML(typ="safe").load(Path("params.yaml"))

def write(path, value):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(json.dumps(value))

if stage == "prepare":
    rows = Path("data/train.csv").read_text().splitlines()[1:]
    write("prepared/train.jsonl", rows)
    files, splits = {"train": {"rows_in": len(rows)}}, {"train": {"rows": len(rows), "from": "data/train.csv"}}
    write("prepared/report.json", {"files": files, "splits": splits})
elif stage == "base":
    name = params["members"][member].get("checkpoint")
    write(f"bases/{member}/checkpoint.json", {"checkpoint": name, "revision": None, "md5": None})
elif stage == "train":
    settings = params["members"][member]
    time.sleep(settings.get("seconds", 0))
    learned = sum(map(len, json.loads(Path("prepared/train.jsonl").read_text()))) * settings["learning_rate"]
    random = np.random.default_rng(params["seed"]).uniform(0, 0.1, 4)
    for name, value in (("config.json", {}), ("yoyak.json", {"member": member})):
        write(f"models/{member}/{name}", value)
    save_file({"learned": np.full(4, learned), "random": random}, f"models/{member}/model.safetensors")
    write(f"receipts/{member}.json", {"run_id": str(time.time())})
elif stage == "predict":
    weights = load_file(f"models/{member}/model.safetensors")
    write(f"predictions/{member}/dev.jsonl", float(weights["learned"][0] + weights["random"].sum()))
elif stage == "ensemble":
    parts = [json.loads(Path(f"predictions/{name}/dev.jsonl").read_text()) for name in params["members"]]
    write(f"ensembles/{member}/dev.jsonl", sum(parts) / len(parts))
elif stage == "evaluate":
    for path in [*Path("predictions").glob("*/dev.jsonl"), *Path("ensembles").glob("*/dev.jsonl")]:
        name, score = path.parent.name, json.loads(path.read_text())
        write(f"metrics/scores/{name}.json", {"dev": round(score, 6)})
"""
DVC = """
stages:
  prepare:
    cmd: python src/make.py prepare
    deps: [data, src]
    outs: [prepared]
  base:
    foreach: ${members}
    do:
      cmd: python src/make.py base ${key}
      params:
      - members.${key}
      outs:
      - bases/${key}
  train:
    foreach: ${members}
    do:
      cmd: python src/make.py train ${key}
      deps:
      - bases/${key}
      - prepared/train.jsonl
      - src
      params:
      - members.${key}
      - seed
      outs:
      - models/${key}
      - receipts/${key}.json
  predict:
    foreach: ${members}
    do:
      cmd: python src/make.py predict ${key}
      deps:
      - models/${key}
      outs:
      - predictions/${key}
  ensemble:
    foreach: ${ensemble.strategies}
    do:
      cmd: python src/make.py ensemble ${key}
      deps:
      - predictions
      params:
      - ensemble.strategies.${key}
      - members
      outs:
      - ensembles/${key}
  evaluate:
    cmd: python src/make.py evaluate
    deps: [predictions]
    params: [members, ensemble]
    metrics:
    - metrics/scores:
        cache: false
"""
PARAMS = """
seed: 20
members:
  bart: {learning_rate: 0.01, dropout: null}
  t5: {learning_rate: 0.02}
ensemble: {strategies: {vote: {type: vote}, mbr: {type: mbr}}, models: {}}
registry: {name: yoyak, ensemble: vote}
"""


def dvc(*arguments: str) -> None:
    """Run DVC in the current folder, with this Python for `python`."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-m", "dvc", *arguments]
    subprocess.run(command, env=environment, check=True, capture_output=True, text=True)


def edit_params(change: Callable[[dict[str, Any]], None]) -> None:
    """Change params.yaml of the current folder."""
    from ruamel.yaml import YAML

    yaml = YAML()
    tree = yaml.load(Path("params.yaml"))
    change(tree)
    yaml.dump(tree, Path("params.yaml"))


def commit_params(change: Callable[[dict[str, Any]], None]) -> str:
    """Change params.yaml, commit it and return the commit."""
    edit_params(change)
    git("commit", "-q", "-a", "-m", "change")
    return git("rev-parse", "HEAD")


@pytest.fixture(scope="session")
def finished_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with all outputs, committed; tests work on copies."""
    folder = tmp_path_factory.mktemp("lineage")
    for name, text in (
        ("src/make.py", MAKE),
        ("dvc.yaml", DVC),
        ("params.yaml", PARAMS),
        ("data/train.csv", "fname,dialogue\n1,a\n2,b\n"),
        (".gitignore", "mlflow.db*\nmlruns/\nlogs/\n"),
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        git("init", "-q", "-b", "main")
        for arguments in (["init", "-q"], ["add", "-q", "data"], ["repro", "-q"]):
            dvc(*arguments)
        git("add", "-A")
        git("commit", "-q", "-m", "results")
    return folder


@pytest.fixture
def registered(
    project: Path, empty_store: Path, finished_pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> MlflowClient:
    """The project, current, with `yoyak/1` and the alias champion for bart; the client of its store."""
    monkeypatch.chdir(project.parent)
    shutil.rmtree(project)
    shutil.copytree(finished_pipeline, project, symlinks=True)
    monkeypatch.chdir(project)
    shutil.copy(empty_store, project / "mlflow.db")
    store = client.connect()
    store.create_registered_model("yoyak")
    register("bart", "yoyak")
    store.set_registered_model_alias("yoyak", "champion", "1")
    return store


def register(member: str, name: str, *, strategy: str = "", **tags: str) -> str:
    """Log the model of a member or a strategy with a run, and return the number of its new version."""
    store = client.connect()
    folder = Path("ensembles", strategy) if strategy else Path("models", member)
    with runs.stage_run("train", member=member, params={"members": {member: {"a": 1}}, "seed": 20}, inputs={}) as run:
        logged = store.create_logged_model(run.experiment_id, member, run.run_id)
        store.log_model_artifacts(logged.model_id, str(folder))
        store.finalize_logged_model(logged.model_id, "READY")
    score = json.loads(Path("metrics/scores", f"{strategy or member}.json").read_text())["dev"]
    tags = {"score.dev.combined": str(score), **tags}
    if strategy:
        tags |= {"variant": "ensemble", **version_tags(run.run_id, folder, strategy=strategy)}
    else:
        tags |= {"member": member, **version_tags(run.run_id, folder, member=member)}
    return str(store.create_model_version(name, f"models:/{logged.model_id}", run.run_id, tags=tags).version)
