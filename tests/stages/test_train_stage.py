"""`yoyak train` as a stage: its outputs, its run, and a tracking server that goes away in the middle of it."""

from __future__ import annotations

import csv
import json
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from mlflow_helpers import free_port, tracking_server
from training.tiny_training import MASKS, ROWS, TEXTS, TWICE_SUMMARIZED, member
from yoyak import project as paths
from yoyak.data.records import read_jsonl, write_jsonl
from yoyak.decoding.torch import TorchSummarizer
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.scoring.rouge import rouge
from yoyak.stages import train
from yoyak.tracking import client, lineage
from yoyak.tracking.sync import sync_runs
from yoyak.training.dataset import sample_rows


@pytest.fixture
def prepared(store, project: Path) -> Path:
    """A project that is ready for `yoyak train bart`, which evaluates after each of 16 updates."""
    values = member("bart", num_epochs=4, evaluations=16, early_stopping_patience=16).model_dump()
    tree = {"seed": 7, "tokenizers": {"bpe": {"type": "bpe", "vocab_size": 600}}, "members": {"bart": values}}
    tree["scoring"] = {"granularities": ["syllable", "eojeol"], "multi_reference": "max", "weights": [0.0, 0.0, 1.0]}
    with (project / "params.yaml").open("w", encoding="utf-8") as out:
        YAML().dump(tree, out)
    tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
    tokenizer.save_pretrained(paths.base_folder("bart") / paths.BASE_TOKENIZER)
    write_jsonl(paths.TRAIN_SPLIT, ROWS[:32])
    write_jsonl(paths.DEV_SPLIT, TWICE_SUMMARIZED)
    paths.MASKS.write_text("\n".join(MASKS), encoding="utf-8")
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
