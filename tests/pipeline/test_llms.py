"""The preset `llm`: six of six models train, by their names, where the pipeline before this one lost five."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from pipeline.checkpoints import save_in_hub_cache
from pipeline.conftest import ROOT, environment, make_project, score_syllables, shell, shrink, succeed
from preloaded import preloaded
from yoyak.models.catalog import find
from yoyak.models.spec import load_spec

LOCAL = {"optim": "adamw_torch", "precision": "auto"}
"""What the preset leaves to a GPU."""


def read_texts(data: Path) -> list[str]:
    texts: list[str] = []
    for path in sorted(data.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                texts += [value for key, value in row.items() if key.startswith(("dialogue", "summary"))]
    return texts


@pytest.fixture(scope="module")
def llms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A project with the preset, and the variables with which the Hub's names are found in a folder."""
    folder = make_project(tmp_path_factory.mktemp("llms"))
    tree: dict[str, Any] = YAML(typ="safe").load(ROOT / "presets/llm.yaml")
    # The sample corpus has its own gate split.
    tree["data"] = YAML(typ="safe").load(folder / "params.yaml")["data"]
    shrink(tree)
    score_syllables(tree)
    cache = folder.parent / "hub"
    texts = read_texts(folder / "data")
    for member in tree["members"].values():
        name = find(member["checkpoint"])
        assert name
        save_in_hub_cache(name, texts, cache)
        # The instruction of KuLLM alone is longer than what the tests shrink others to.
        local = LOCAL if member["family"] == "causal" else {}
        member.update({"max_input_tokens": 400, "gradient_accumulation_steps": 1, **local})
    # As people write it.
    tree["members"]["solar-10_7b"]["checkpoint"] = "SOLAR_10.7B"
    with (folder / "params.yaml").open("w") as out:
        YAML().dump(tree, out)
    succeed(folder, "git", "commit", "-qam", "the preset llm")
    variables = {"HF_HUB_CACHE": str(cache), "XDG_CACHE_HOME": str(folder.parent / "cache")}
    with preloaded({**environment(), **variables}) as path:
        yield folder, {**variables, "PATH": path}


@pytest.mark.slow
def test_six_of_six_are_trained_evaluated_and_registered(llms: tuple[Path, dict[str, str]]) -> None:
    folder, variables = llms
    output = succeed(folder, "dvc", "repro", **variables)
    members = YAML(typ="safe").load(folder / "params.yaml")["members"]
    assert len(members) == 6
    summary = json.loads((folder / "evaluation/summary.json").read_text())
    assert {row["name"] for row in summary["systems"] if row["kind"] == "member"} == set(members)
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    registered = {model.name for model in client.search_registered_models()}
    assert {f"yoyak-{name}" for name in members} <= registered
    assert "holds pickled weights" in output

    specs = {name: load_spec(folder / "models" / name) for name in members}
    assert "assistant" in specs["llama-3_2-korean-3b"].separator
    assert specs["qwen3-4b"].separator.endswith("</think>\n\n")
    assert specs["kullm-v2"].separator == "\n\n### 응답:\n"
    assert specs["solar-10_7b"].options["bos"] is True
    for name in set(members) - {"kobart"}:
        training = json.loads((folder / f"training/{name}.json").read_text())
        assert training["trained_parameters"] < training["parameters"]
        assert training["merge_agreement"] >= 0.98


@pytest.mark.slow
def test_a_name_that_is_not_there_is_known_at_once(llms: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    folder, variables = llms
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    (tmp_path / "copy/params.yaml").write_text(
        (folder / "params.yaml").read_text().replace("checkpoint: SOLAR_10.7B", "checkpoint: solar-11b")
    )
    done = shell(tmp_path / "copy", "yoyak", "base", "solar-10_7b", **variables)
    assert done.returncode == 1
    assert "solar-10.7b" in done.stderr
