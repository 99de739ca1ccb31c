"""A training that memory does not hold goes on with a smaller batch and as many rows to an update."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from training.tiny_training import MASKS, TEXTS, member, train
from yoyak.errors import UserError
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer, TrainedMember
from yoyak.training.out_of_memory import halve_batch, keep_batch, retry_with_smaller_batches
from yoyak.training.results import TrainingResult

CODE = """
import json, resource, sys
from dataclasses import asdict
from pathlib import Path
import torch
from training.tiny_training import MASKS, TEXTS, train
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer

torch.set_num_threads(1)
tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
tokenizer.add_tokens([f"token{number}" for number in range(60_000)])
folder, spare_mb, batch_size = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
values = {"num_epochs": 1, "evaluations": 1, "evaluation_dialogues": 1, "learning_rate": 1e-3}
train("bart", tokenizer, folder / "warm", batch_size=1, **values)
if spare_mb:
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + spare_mb * 2**20,) * 2)
result = train("bart", tokenizer, folder, batch_size=batch_size, **values)
print(json.dumps(asdict(result.metrics)))
"""


def run(folder: Path, spare_mb: int, batch_size: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, str(folder), str(spare_mb), str(batch_size)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "1048576", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.slow
def test_the_batch_is_halved_until_it_fits(tmp_path: Path) -> None:
    # The logits of 32 rows are 32 x 32 x 60,000 numbers, 246 MB, and as much again for what is made of them.
    done = run(tmp_path, 500, 32)
    assert done.returncode == 0, done.stderr
    metrics: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert 1 <= metrics["batch_size"] < 32
    assert metrics["steps"] == 1
    assert "memory ran out with a batch of 32" in done.stderr
    assert (tmp_path / "model/model.safetensors").is_file()


@pytest.mark.slow
def test_a_row_that_does_not_fit_is_one_sentence(tmp_path: Path) -> None:
    done = run(tmp_path, 5, 2)
    assert done.returncode != 0
    assert "not even one row fits into memory" in done.stderr


def test_a_training_that_has_ended_is_not_thrown_away(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
    values: dict[str, Any] = {"num_epochs": 1, "evaluations": 1, "evaluation_dialogues": 1}

    def run_out(current: TrainedMember) -> TrainingResult:
        train("bart", tokenizer, tmp_path, **values)
        raise MemoryError

    with pytest.raises(UserError, match="after the last update"):
        retry_with_smaller_batches("bart", member("bart", **values), tmp_path / "checkpoints", run_out)
    assert list((tmp_path / "checkpoints").glob("checkpoint-*"))


def test_a_run_that_is_resumed_begins_with_the_batch_that_fitted(tmp_path: Path) -> None:
    requested = member("bart", batch_size=16)
    smaller = halve_batch(requested)
    assert smaller
    assert keep_batch(requested, tmp_path, reduced=False) == requested
    keep_batch(smaller, tmp_path, reduced=True)
    assert keep_batch(requested, tmp_path, reduced=False) == smaller


@pytest.mark.parametrize(("batch", "steps", "halved"), [(16, 1, (8, 2)), (8, 4, (4, 8)), (3, 1, (1, 3))])
def test_an_update_keeps_its_rows(batch: int, steps: int, halved: tuple[int, int]) -> None:
    smaller = halve_batch(member("bart", batch_size=batch, gradient_accumulation_steps=steps))
    assert smaller
    assert (smaller.batch_size, smaller.gradient_accumulation_steps) == halved
    assert halve_batch(member("bart", batch_size=1)) is None


def test_the_parts_of_a_batch_are_halved_too(tmp_path: Path) -> None:
    requested = member("bart", batch_size=16, max_batch_tokens=1000)
    smaller = halve_batch(requested)
    assert smaller
    assert smaller.max_batch_tokens == 500
    keep_batch(smaller, tmp_path, reduced=True)
    assert keep_batch(requested, tmp_path, reduced=False) == smaller
