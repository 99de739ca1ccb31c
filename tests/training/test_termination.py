"""SIGTERM: a training saves a checkpoint at the end of its update, and the next run ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from training.tiny_training import MASKS, TEXTS, train
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.process import Terminated
from yoyak.training.results import TrainingResult
from yoyak.training.summary_trainer import CheckpointScoring

VALUES: dict[str, Any] = {
    "scoring": CheckpointScoring(granularity="syllable", multi_reference="mean", weights=(1.0, 0.0, 0.0)),
    "batch_size": 2, "num_epochs": 2, "evaluations": 2, "evaluation_dialogues": 2, "learning_rate": 0.001,
}  # fmt: skip
"""32 updates, logged after each third one and evaluated after each fifteenth."""


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


def terminate_at(step: int, metric: str):
    def log(current: int, values: Mapping[str, float]) -> None:
        if current == step and metric in values:
            os.kill(os.getpid(), signal.SIGTERM)

    return log


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tokenizer, tmp_path_factory) -> tuple[TrainingResult, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return train("bart", tokenizer, folder, **VALUES), weights(folder)


def test_the_next_run_ends_as_if_nothing_had_happened(undisturbed, tokenizer, tmp_path: Path) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    # In the first epoch, and in the middle of the second one; both between two logs.
    for logged, saved in ((6, 7), (21, 22)):
        with pytest.raises(Terminated) as ended:
            train("bart", tokenizer, tmp_path, log=terminate_at(logged, "loss"), **VALUES)
        checkpoint = tmp_path / "checkpoints" / f"checkpoint-{saved}"
        assert ended.value.code == 143
        assert (
            str(ended.value) == f"ended by SIGTERM after update {saved} of 32; the next run goes on from {checkpoint}."
        )
        assert (checkpoint / "trainer_state.json").is_file()
        assert not (tmp_path / "model").exists()
        assert signal.getsignal(signal.SIGTERM) == handler
    resumed = train("bart", tokenizer, tmp_path, **VALUES)
    assert (resumed.curves, weights(tmp_path)) == (undisturbed[0].curves, undisturbed[1])


def test_an_evaluation_that_is_under_way_is_completed(undisturbed, tokenizer, tmp_path: Path) -> None:
    with pytest.raises(Terminated, match="after update 15 of 32"):
        train("bart", tokenizer, tmp_path, log=terminate_at(15, "loss"), **VALUES)
    state = json.loads((tmp_path / "checkpoints" / "checkpoint-15" / "trainer_state.json").read_text())
    assert "eval_combined" in state["log_history"][-1]
    assert train("bart", tokenizer, tmp_path, **VALUES).curves == undisturbed[0].curves
    assert weights(tmp_path) == undisturbed[1]


def test_a_second_signal_ends_at_once(tokenizer, tmp_path: Path) -> None:
    def log(step: int, values: Mapping[str, float]) -> None:
        if step == 6:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        train("bart", tokenizer, tmp_path, log=log, **VALUES)
    assert ended.value.code == 143
    assert not list((tmp_path / "checkpoints").glob("checkpoint-*"))
