"""Several processes that train a member together: what one process would have got, and nothing of them left over.

They add up in another order, so that the results are equal but for rounding.
"""

from __future__ import annotations

import multiprocessing
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerBase

from training.test_adapters import save_checkpoint
from training.tiny_training import MASKS, SIZES, TEXTS, member, train
from yoyak.errors import UserError
from yoyak.models.tokenizers import load_tokenizer, train_tokenizer
from yoyak.params import Tokenizer
from yoyak.process import TERMINATED
from yoyak.training.arguments import advise_less_memory, check_devices
from yoyak.training.out_of_memory import halve_batch
from yoyak.training.results import TrainingResult
from yoyak.training.selection import CheckpointScoring

SCORING = CheckpointScoring(granularity="syllable", multi_reference="mean", weights=(0.33, 0.33, 0.34))
TWO = {"processes": 2}
NO_DROPOUT = {
    "bart": {"dropout": 0.0},
    "t5": {"dropout_rate": 0.0},
}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert len(one.curves) == len(other.curves)
    for row, other_row in zip(one.curves, other.curves, strict=True):
        assert row == pytest.approx(other_row, rel=1e-4)
    for name in ("eval_loss", "eval_combined", "best_step", "steps", "batch_size", "parameters", "trained_parameters"):
        assert getattr(one.metrics, name) == pytest.approx(getattr(other.metrics, name), rel=1e-4), name


def assert_same_weights(folder: Path, other: Path) -> None:
    weights, others = (load_file(each / "model/model.safetensors") for each in (folder, other))
    assert weights.keys() == others.keys()
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, others[name], rtol=1e-4, atol=1e-5)


class Log:
    """What a training logs."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def add(self, step: int, metrics: Mapping[str, float]) -> None:
        self.steps.append(step)


@pytest.mark.slow
def test_two_processes_train_an_adapter_as_one_does(tmp_path: Path) -> None:
    """With batches that are not even: the last one of an epoch has a single row, which leaves one process none."""
    values = save_checkpoint("bart", tmp_path / "checkpoint")
    values |= {"config": NO_DROPOUT["bart"], "adapter": {"r": 4, "lora_dropout": 0.0}, "batch_size": 31}
    values |= {"evaluations": 3, "evaluation_dialogues": 8, "label_smoothing": 0.1, "num_epochs": 3}
    results = []
    for count in (1, 2):
        masked = load_tokenizer(tmp_path / "checkpoint", MASKS)
        log = Log()
        results.append(
            train(
                "bart", masked, tmp_path / str(count), scoring=SCORING, log=log.add, launcher={"processes": count},
                **values,
            )
        )  # fmt: skip
        assert sorted(set(log.steps)) == [row["step"] for row in results[-1].curves]
    assert_same(*results)
    assert_same_weights(tmp_path / "1", tmp_path / "2")
    assert results[1].metrics.merge_agreement == 1
    assert results[1].metrics.device == "2 x cpu"


@pytest.mark.slow
def test_a_sharded_run_takes_over_from_one_process_and_the_other_way_round(tokenizer, tmp_path: Path) -> None:
    values: dict[str, Any] = {"config": SIZES["t5"][1] | NO_DROPOUT["t5"], "num_epochs": 3, "batch_size": 6}
    values |= {"evaluations": 6, "early_stopping_patience": 9, "evaluation_dialogues": 8, "scoring": SCORING}
    whole = train("t5", tokenizer, tmp_path / "whole", **values)

    def interrupt(step: int, metrics: Mapping[str, float]) -> None:
        if step == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train("t5", tokenizer, tmp_path / "sharded", log=interrupt, **values)
    sharded = train("t5", tokenizer, tmp_path / "sharded", launcher={**TWO, "strategy": "fsdp"}, **values)
    assert_same(sharded, whole)
    assert_same_weights(tmp_path / "sharded", tmp_path / "whole")

    # What it would have left if it had been killed before its last checkpoint.
    first, last = sorted((tmp_path / "sharded/checkpoints").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    shutil.rmtree(last)
    resumed = train("t5", tokenizer, tmp_path / "sharded", **values)
    assert first.is_dir()
    assert_same(resumed, whole)
    assert_same_weights(tmp_path / "sharded", tmp_path / "whole")


@pytest.mark.slow
def test_sigterm_to_all_processes_leaves_a_checkpoint_to_go_on_from(tokenizer, tmp_path: Path) -> None:
    """However often it comes: from what ends all processes of a group, and from the one that started the others."""
    values: dict[str, Any] = {"config": SIZES["t5"][1] | NO_DROPOUT["t5"], "num_epochs": 10, "batch_size": 4}
    values |= {"evaluations": 1, "evaluation_dialogues": 4, "scoring": SCORING}

    def saved() -> list[Path]:
        return list((tmp_path / "two/checkpoints").glob("checkpoint-*/trainer_state.json"))

    def terminate(step: int, metrics: Mapping[str, float]) -> None:
        ranks = multiprocessing.active_children()
        while not saved() and all(rank.is_alive() for rank in ranks):
            for rank in ranks:
                rank.terminate()
            time.sleep(0.01)
        raise SystemExit(TERMINATED)

    with pytest.raises(SystemExit):
        train("t5", tokenizer, tmp_path / "two", log=terminate, launcher=TWO, **values)
    [state] = saved()
    assert int(state.parent.name[11:]) < 80
    assert not (tmp_path / "two/model").exists()
    resumed = train("t5", tokenizer, tmp_path / "two", **values)
    whole = train("t5", tokenizer, tmp_path / "whole", **values)
    assert_same(resumed, whole)
    assert_same_weights(tmp_path / "two", tmp_path / "whole")


@pytest.mark.parametrize(
    "values", [{"launcher": TWO}, {"launcher": {**TWO, "strategy": "fsdp"}}, {"launcher": TWO, "adapter": {}}]
)
def test_what_is_advised_where_memory_is_short_is_valid(values: dict[str, Any]) -> None:
    checkpoint: dict[str, Any] = {"checkpoint": "gogamza/kobart-base-v2", "config": {}}
    changes: dict[str, dict[str, Any]] = {
        "train an adapter": {"adapter": {}},
        "keep the checkpoint in 4 bits": {"adapter": {"quantization": {}}},
        "set gradient_checkpointing": {"gradient_checkpointing": True},
        "share the weights": {"launcher": {**TWO, "strategy": "fsdp"}},
        "set loss_chunk_tokens": {"loss_chunk_tokens": 128},
    }
    for _ in changes:
        advice = advise_less_memory(member("bart", **checkpoint, **values))
        change = next((change for words, change in changes.items() if advice.startswith(words)), None)
        if change is None:
            break
        values = {**values, **change}
    assert advice == "lower max_input_tokens, or choose a smaller model"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"launcher": {"processes": 9}}, "9, but a batch has only 8 rows"),
        ({"launcher": {"strategy": "fsdp"}, "torch_compile": True}, "neither an adapter nor torch_compile"),
        ({"launcher": {"strategy": "fsdp"}, "optim": "adafactor"}, "needs optim: adamw_torch"),
    ],
)
def test_what_cannot_be_shared_is_refused_in_params(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        member("bart", **values)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"launcher\.processes is 2, but 1 GPU is visible"):
        check_devices("bart", member("bart", launcher=TWO))
    check_devices("bart", member("bart"))


def test_a_batch_is_halved_to_one_row_for_each_process() -> None:
    halved = halve_batch(member("bart", batch_size=3, launcher=TWO))
    assert halved is not None
    assert (halved.batch_size, halved.gradient_accumulation_steps) == (2, 2)
    assert halve_batch(halved) is None
