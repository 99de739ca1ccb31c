"""`yoyak train` with two processes: one run, one set of outputs, and what happens if one of them is killed."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file

from pipeline.conftest import environment
from stages.training_project import prepare_training, write_params
from training.tiny_training import SIZES
from yoyak.stages import train

pytestmark = pytest.mark.slow
VALUES: dict[str, Any] = {
    "config": {**SIZES["gpt2"][1], "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
    "batch_size": 5, "gradient_accumulation_steps": 2, "num_epochs": 3, "evaluations": 6,
    "early_stopping_patience": 9,
}  # fmt: skip
"""Evaluated after every second of 12 updates; the last batch of an epoch has two rows, the last update one batch."""
ONE, TWO = ({**VALUES, "launcher": {"processes": count}} for count in (1, 2))
CHECKPOINTS = Path("checkpoints/gpt2")


def read_results() -> tuple[dict[str, Any], dict[str, torch.Tensor], str]:
    metrics = json.loads(Path("training/gpt2.json").read_text())
    kept = ("eval_loss", "eval_combined", "train_loss", "steps", "best_step", "epochs", "batch_size")
    curves = Path("plots/curves_gpt2.csv").read_text()
    return {key: metrics[key] for key in kept}, load_file("models/gpt2/model.safetensors"), curves


def assert_same(results: tuple[Any, Any, str], expected: tuple[Any, Any, str]) -> None:
    assert results[0] == pytest.approx(expected[0], rel=1e-4)
    for name, tensor in results[1].items():
        torch.testing.assert_close(tensor, expected[1][name], rtol=1e-4, atol=1e-5)
    rows, expected_rows = (
        [[float(cell or "nan") for cell in line.split(",")] for line in text.splitlines()[1:]]
        for text in (results[2], expected[2])
    )
    torch.testing.assert_close(torch.tensor(rows), torch.tensor(expected_rows), rtol=1e-4, atol=1e-6, equal_nan=True)


@contextmanager
def started() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        ["yoyak", "train", "gpt2"], env=environment(), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_rank(process: psutil.Process) -> bool:
    # Helpers that torch and git start end while they are looked at.
    try:
        return any("spawn_main" in word for word in process.cmdline())
    except psutil.NoSuchProcess:
        return False


def find_ranks(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Wait for the two processes, in the order in which they were started."""
    while True:
        assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        ranks = [child for child in children if is_rank(child)]
        if len(ranks) == 2:
            return sorted(ranks, key=lambda rank: rank.create_time())
        time.sleep(0.01)


def test_a_killed_rank_ends_both_and_the_next_run_resumes(store, project: Path, capfd) -> None:
    prepare_training("gpt2", **ONE)
    train.run("gpt2")
    expected = read_results()
    shutil.rmtree("models")

    write_params("gpt2", **TWO)
    with started() as process:
        while len(list(CHECKPOINTS.glob("checkpoint-*/trainer_state.json"))) < 2:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.01)
        ranks = find_ranks(process)
        ranks[1].send_signal(signal.SIGKILL)
        errors = process.communicate()[1]
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("yoyak train: members.gpt2: rank 1 of 2 was ended by SIGKILL, and ")
    assert not any(rank.is_running() for rank in ranks)
    assert not Path("models/gpt2").exists()
    shutil.copytree(CHECKPOINTS, "kept")

    capfd.readouterr()
    train.run("gpt2")
    assert_same(read_results(), expected)
    assert not CHECKPOINTS.exists()
    shutil.copytree("kept", CHECKPOINTS)
    write_params("gpt2", **ONE)
    train.run("gpt2")
    assert_same(read_results(), expected)
    output = capfd.readouterr()
    assert "starts over" not in output.err
    assert output.out.count("epoch 3.0: ") == 2, "one process prints"

    stages = [run for run in store.search_runs(["0", "1"]) if run.data.tags.get("yoyak.stage") == "train"]
    assert sorted(run.info.status for run in stages) == ["FAILED", "FINISHED", "FINISHED", "FINISHED"]
    [failed] = [run for run in stages if run.info.status == "FAILED"]
    assert "rank 1 of 2" in failed.data.tags["yoyak.error"]
    assert failed.data.metrics["loss"] > 0


def test_nothing_is_left_of_a_training_that_is_killed(store, project: Path) -> None:
    prepare_training("gpt2", **TWO)
    with started() as process:
        ranks = find_ranks(process)
        process.kill()
        process.wait()
        assert psutil.wait_procs(ranks, timeout=120)[1] == []
