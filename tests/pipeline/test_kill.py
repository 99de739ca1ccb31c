"""A training that is killed in the middle of an epoch goes on, and ends with the weights it would have had."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from pipeline.conftest import edit, environment, succeed

pytestmark = pytest.mark.slow


def lengthen(tree: dict) -> None:
    tree["members"] = {"bart": tree["members"]["bart"]}
    tree["members"]["bart"] |= {"num_epochs": 6, "batch_size": 2, "evaluations": 7}


def checkpoint_steps(folder: Path) -> list[int]:
    states = folder.glob("checkpoints/bart/checkpoint-*/trainer_state.json")
    return sorted(int(state.parent.name.split("-")[1]) for state in states)


def test_same_weights_after_sigkill(small_project: Path, fast_path: str) -> None:
    edit(small_project, lengthen)
    succeed(small_project, "yoyak", "prepare", PATH=fast_path)
    succeed(small_project, "yoyak", "base", "bart", PATH=fast_path)
    succeed(small_project, "yoyak", "train", "bart", PATH=fast_path)
    expected = (small_project / "models/bart/model.safetensors").read_bytes()
    curves = (small_project / "plots/curves_bart.csv").read_text()
    shutil.rmtree(small_project / "models")

    process = subprocess.Popen(
        ["yoyak", "train", "bart"], cwd=small_project, env=environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    while len(checkpoint_steps(small_project)) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    last = checkpoint_steps(small_project)[-1]
    state = json.loads((small_project / f"checkpoints/bart/checkpoint-{last}/trainer_state.json").read_text())
    assert state["epoch"] % 1 != 0, "the checkpoint must lie within an epoch for this test to mean something"
    assert not (small_project / "models/bart").exists()

    succeed(small_project, "yoyak", "train", "bart", PATH=fast_path)
    assert (small_project / "models/bart/model.safetensors").read_bytes() == expected
    assert (small_project / "plots/curves_bart.csv").read_text() == curves
    assert not (small_project / "checkpoints/bart").exists()
