"""`yoyak train` as a stage: its outputs, its run, and a tracking server that goes away in the middle of it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from mlflow.entities import Run
from ruamel.yaml import YAML

from mlflow_helpers import free_port, tracking_server
from stages.training_project import prepare_training
from training.tiny_training import ROWS
from yoyak import project as paths
from yoyak.cli.app import main
from yoyak.data.folding import hold_out
from yoyak.data.records import read_jsonl
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.failures import write_failure
from yoyak.scoring.rouge import rouge
from yoyak.stages import train
from yoyak.tracking import client, lineage
from yoyak.tracking.runs import ERROR, EXPERIMENT, STAGE
from yoyak.tracking.sync import sync_runs
from yoyak.training.dataset import sample_rows


@pytest.fixture
def prepared(store, project: Path) -> Path:
    """A project that is ready for `yoyak train bart`, which evaluates after each of 16 updates."""
    prepare_training("bart", num_epochs=4, evaluations=16, early_stopping_patience=16)
    return project


@pytest.mark.slow
def test_a_server_that_goes_away_during_a_training_costs_nothing(prepared: Path, monkeypatch, capsys) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by server")
    with ExitStack() as server:
        server.enter_context(tracking_server(port))

        def stop_after_a_checkpoint() -> None:
            while not list(prepared.glob("checkpoints/bart/checkpoint-*")):
                time.sleep(0.01)
            server.close()

        stopping = threading.Thread(target=stop_after_a_checkpoint)
        stopping.start()
        train.run("bart")
        stopping.join()
    assert "run `yoyak sync`" in capsys.readouterr().err.splitlines()[-1]
    assert (prepared / "models/bart/model.safetensors").is_file()
    assert not (prepared / "checkpoints/bart").exists()
    metrics = json.loads((prepared / "training/bart.json").read_text())
    receipt = lineage.read_receipt(prepared / "receipts/bart.json")
    with (prepared / "plots/curves_bart.csv").open(newline="") as file:
        curves = [row for row in csv.DictReader(file) if row["eval_combined"]]
    assert len(curves) == metrics["steps"] == 16

    with tracking_server(port):
        assert [result.problem for result in sync_runs()] == [None]
        run = client.connect().get_run(receipt.run_id)
        history = client.connect().get_metric_history(receipt.run_id, "eval_combined")
        files = client.connect().list_artifacts(receipt.run_id, "plots")
    assert run.info.status == "FINISHED"
    assert run.data.metrics["truncated_summaries"] > 0
    assert [file.path for file in files] == ["plots/curves_bart.csv"]
    # The last one is the headline figure, logged without a step.
    by_step = {metric.step: metric.value for metric in history if metric.step}
    assert by_step == {int(row["step"]): pytest.approx(float(row["eval_combined"])) for row in curves}


def test_checkpoints_are_kept_until_all_outputs_are_written(prepared: Path) -> None:
    receipts = prepared / "receipts"
    receipts.write_text("in the way of the folder")
    with pytest.raises(OSError):
        train.run("bart")
    assert (prepared / "checkpoints/bart/checkpoint-16").is_dir()
    first = (prepared / "plots/curves_bart.csv").read_bytes()
    receipts.unlink()
    (prepared / "plots/curves_bart.csv").unlink()
    train.run("bart")
    assert (receipts / "bart.json").is_file()
    assert (prepared / "plots/curves_bart.csv").read_bytes() == first
    assert json.loads((prepared / "training/bart.json").read_text())["samples_per_second"] == 0, "nothing was trained"
    assert not (prepared / "checkpoints/bart").exists()


def test_the_checkpoint_is_chosen_by_the_scoring_of_params(prepared: Path) -> None:
    train.run("bart")
    sample = sample_rows(read_jsonl(paths.DEV_SPLIT), 4, seed=7)
    summaries = TorchSummarizer.load(prepared / "models/bart", "cpu").summarize([row.dialogue for row in sample])
    scores = rouge(
        summaries.texts,
        [row.summaries for row in sample],
        granularity="syllable",
        multi_reference="max",
        weights=(0.0, 0.0, 1.0),
    )
    chosen = json.loads((prepared / "training/bart.json").read_text())["eval_combined"]
    assert chosen > 0
    assert chosen == pytest.approx(scores["combined"].mean())


def training_runs() -> list[Run]:
    experiment = client.get_or_create_experiment(client.connect(), EXPERIMENT)
    return list(client.connect().search_runs([experiment.experiment_id], f"tags.`{STAGE}` = 'train'"))


def test_sigterm_leaves_a_killed_run_and_a_checkpoint_to_go_on_from(prepared: Path, capsys) -> None:
    def terminate_after_a_checkpoint() -> None:
        while not list(prepared.glob("checkpoints/bart/checkpoint-*")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    terminating = threading.Thread(target=terminate_after_a_checkpoint)
    terminating.start()
    assert main(["train", "bart"]) == 143
    terminating.join()
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("yoyak train: ")]
    assert "the next run goes on from checkpoints/bart/checkpoint-" in line
    saved = Path(line.split()[-1].rstrip("."))
    assert (saved / "trainer_state.json").is_file()
    assert not (prepared / "models/bart").exists()
    [run] = training_runs()
    assert run.info.status == "KILLED"
    assert str(saved) in run.data.tags[ERROR]


def test_a_base_that_failed_while_failures_were_isolated_ends_a_training_that_is_not(prepared: Path) -> None:
    write_failure(paths.base_folder("bart"), "the folder of its checkpoint is missing.")
    with pytest.raises(UserError, match=r"^the folder of its checkpoint is missing\.$"):
        train.run("bart")


def test_a_fold_is_held_out_of_the_training_set_and_chooses_the_checkpoint(prepared: Path) -> None:
    text = Path("params.yaml").read_text(encoding="utf-8")
    params = YAML(typ="safe").load(text)
    params["members"]["bart"] |= {"fold": {"index": 2, "of": 4}, "num_epochs": 1, "evaluations": 1}
    with Path("params.yaml").open("w", encoding="utf-8") as out:
        YAML().dump(params, out)
    paths.DEV_SPLIT.write_text("dev is not read\n")
    train.run("bart")
    kept, held_out = hold_out(ROWS[:32], 2, 4)
    sample = sample_rows(held_out, 4, seed=7)
    summaries = TorchSummarizer.load(prepared / "models/bart", "cpu").summarize([row.dialogue for row in sample])
    scores = rouge(
        summaries.texts,
        [row.summaries for row in sample],
        granularity="syllable",
        multi_reference="max",
        weights=(0.0, 0.0, 1.0),
    )
    metrics = json.loads((prepared / "training/bart.json").read_text())
    assert metrics["eval_combined"] == pytest.approx(scores["combined"].mean())
    [run] = training_runs()
    assert run.inputs is not None
    rows = {
        entry.dataset.name: json.loads(str(entry.dataset.profile))["num_rows"] for entry in run.inputs.dataset_inputs
    }
    assert rows == {"train without fold 2 of 4": len(kept), "train fold 2 of 4": len(held_out)}


HANGING = """
import functools, sys, time, torch
from yoyak.models.libraries import import_transformers

import_transformers()
from transformers import BartForConditionalGeneration
from yoyak.cli.app import main

forward = BartForConditionalGeneration.forward

@functools.wraps(forward)
def hang(self, *args, **kwargs):
    if not torch.is_grad_enabled():
        return forward(self, *args, **kwargs)
    time.sleep(600)

BartForConditionalGeneration.forward = hang
sys.exit(main(["train", "bart"]))
"""


@pytest.mark.slow
def test_a_hung_first_step_ends_the_process_and_fails_the_run(prepared: Path) -> None:
    environment = os.environ | {
        "YOYAK__MEMBERS__BART__MAX_FIRST_STEP_SECONDS": "0.5",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run([sys.executable, "-c", HANGING], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert "members.bart.max_first_step_seconds: it took longer than 0.5 seconds" in done.stderr
    assert "most recent call first" in (prepared / "logs/yoyak.log").read_text()
    [run] = training_runs()
    assert run.info.status == "FAILED"
    assert "max_first_step_seconds" in run.data.tags[ERROR]
    assert not (prepared / "models/bart").exists()
    assert not (prepared / "training").exists()
