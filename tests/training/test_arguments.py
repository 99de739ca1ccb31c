"""The intervals of a training, and the device that it runs on."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Trainer, TrainingArguments

from training.tiny_training import member
from yoyak.errors import UserError
from yoyak.models.precision import Decision
from yoyak.training.arguments import build_arguments
from yoyak.training.launch import check_launch

BF16, FP32 = Decision(precision="bf16", reason=""), Decision(precision="fp32", reason="")


@settings(max_examples=40)
@given(
    rows=st.integers(1, 3000),
    batch_size=st.integers(1, 64),
    accumulation=st.integers(1, 8),
    epochs=st.floats(0.05, 20),
    evaluations=st.integers(1, 30),
)
def test_every_training_run_is_evaluated_at_least_once(
    rows: int, batch_size: int, accumulation: int, epochs: float, evaluations: int
) -> None:
    values = {"batch_size": batch_size, "gradient_accumulation_steps": accumulation, "num_epochs": epochs}
    arguments = build_arguments(member("bart", evaluations=evaluations, **values), 1, Path("checkpoints"), rows, FP32)
    steps = math.ceil(epochs * math.ceil(math.ceil(rows / batch_size) / accumulation))
    assert arguments.eval_steps
    assert 1 <= arguments.eval_steps <= steps
    assert arguments.eval_steps == arguments.save_steps
    assert arguments.eval_steps % arguments.logging_steps == 0


def test_a_training_uses_one_of_several_gpus(tmp_path: Path) -> None:
    plain = TrainingArguments(output_dir=str(tmp_path), per_device_train_batch_size=8, report_to=[])
    own = build_arguments(member("bart", batch_size=8), 1, tmp_path, 32, FP32)
    sizes = []
    for arguments in (plain, own):
        assert arguments.device
        arguments._n_gpu = 4  # What transformers sets where four GPUs are visible.
        sizes.append((arguments.n_gpu, arguments.train_batch_size))
    assert sizes == [(4, 32), (1, 8)]


def test_precision_and_compilation_are_not_those_of_the_training_before(tmp_path: Path, monkeypatch) -> None:
    # As a shell may have exported them; the first training changes both.
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "eager")
    trainings = [(member("gpt2", torch_compile=True), BF16), (member("gpt2"), FP32)]
    used = []
    for trained, precision in trainings:
        arguments = build_arguments(trained, 1, tmp_path, 32, precision)
        accelerator = Trainer(torch.nn.Linear(2, 2), arguments, eval_dataset=[{"labels": 0}]).accelerator
        used.append((accelerator.mixed_precision, accelerator.state.dynamo_plugin.backend.value.lower()))
    assert used == [("bf16", "inductor"), ("no", "no")]


def test_processes_that_something_else_has_started_are_refused() -> None:
    with pytest.raises(UserError, match=r"WORLD_SIZE is 2.*members\.bart\.launcher\.processes"):
        check_launch("bart", {"WORLD_SIZE": "2"})
    check_launch("bart", {"WORLD_SIZE": "1"})
    check_launch("bart", {})
