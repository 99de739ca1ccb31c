"""A training that is interrupted and run again: resumed where it is the same one, started over where it is not."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

import yoyak
from training.tiny_training import MASKS, ROWS, TEXTS, train
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.training.recovery import (
    Checkpoint,
    code_digest,
    find_checkpoint,
    fingerprint,
    lock_checkpoints,
    remove_checkpoints,
)

UNCHANGING: dict[str, Any] = {"learning_rate": 1e-12, "evaluations": 8, "early_stopping_patience": 2}
"""Evaluated after each of 8 updates, of which none improves on the first."""


def bpe(vocab_size: int = 600, texts: list[str] = TEXTS) -> PreTrainedTokenizerBase:
    return train_tokenizer(texts, MASKS, Tokenizer(type="bpe", vocab_size=vocab_size))


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return bpe()


def interrupt_at(step: int):
    def log(current: int, values: Mapping[str, float]) -> None:
        if current == step:
            raise KeyboardInterrupt

    return log


def interrupt(folder: Path, tokenizer: PreTrainedTokenizerBase, step: int = 3, **values: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        train("bart", tokenizer, folder, log=interrupt_at(step), **values)
    assert (folder / "checkpoints" / f"checkpoint-{step - 1}").is_dir()


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


def test_early_stopping_resumes_its_count(tokenizer, tmp_path: Path) -> None:
    uninterrupted = train("bart", tokenizer, tmp_path / "whole", **UNCHANGING)
    assert uninterrupted.metrics.steps == 3
    interrupt(tmp_path, tokenizer, **UNCHANGING)
    resumed = train("bart", tokenizer, tmp_path, **UNCHANGING)
    assert resumed.curves == uninterrupted.curves
    assert weights(tmp_path) == weights(tmp_path / "whole")


def test_training_without_patience_group_or_originals_alone(tokenizer, tmp_path: Path) -> None:
    """Nothing stops it early, batches are drawn at random, and views are rows of their own; it resumes all the same."""
    values = {**UNCHANGING, "learning_rate": 0.01, "group_by_length": False, "augmentation": 1}
    grouped = train("bart", tokenizer, tmp_path / "grouped", **{**values, "group_by_length": True})
    uninterrupted = train("bart", tokenizer, tmp_path / "whole", **{**values, "early_stopping_patience": None})
    assert uninterrupted.metrics.steps == 2 * 2 * 32 / 8
    assert uninterrupted.metrics.eval_loss != grouped.metrics.eval_loss
    interrupt(tmp_path, tokenizer, step=5, **{**values, "early_stopping_patience": None})
    resumed = train("bart", tokenizer, tmp_path, **{**values, "early_stopping_patience": None})
    assert resumed.curves == uninterrupted.curves
    assert weights(tmp_path) == weights(tmp_path / "whole")


@pytest.mark.parametrize("values", [UNCHANGING, {"evaluations": 8, "early_stopping_patience": 9}])
def test_a_training_that_was_finished_is_not_trained_further(tokenizer, tmp_path: Path, values) -> None:
    """It was killed after its last checkpoint, and before or after its outputs were written."""
    first = train("bart", tokenizer, tmp_path, **values)
    shutil.move(tmp_path / "model", tmp_path / "whole" / "model")
    steps = []
    repeated = train("bart", tokenizer, tmp_path, log=lambda step, values: steps.append(step), **values)
    assert repeated.curves == first.curves
    assert repeated.metrics.steps == first.metrics.steps
    assert sorted(set(steps)) == [row["step"] for row in first.curves]
    assert weights(tmp_path) == weights(tmp_path / "whole")
    remove_checkpoints(tmp_path / "checkpoints")
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("other", [{"vocab_size": 700}, {"texts": TEXTS[::-1][:20]}], ids=["size", "content"])
def test_another_tokenizer_starts_over(tokenizer, tmp_path: Path, capsys, other) -> None:
    settings: dict[str, Any] = {"evaluations": 8}
    interrupt(tmp_path, tokenizer, **settings)
    train("bart", bpe(**other), tmp_path, **settings)
    assert "because of tokenizer\n" in capsys.readouterr().err
    train("bart", bpe(**other), tmp_path / "whole", **settings)
    assert weights(tmp_path) == weights(tmp_path / "whole")


def test_another_base_checkpoint_starts_over(tokenizer, tmp_path: Path, capsys) -> None:
    base = tmp_path / "base" / "model"
    train("bart", tokenizer, tmp_path / "base", num_epochs=0.5)
    settings: dict[str, Any] = {"evaluations": 8, "checkpoint": str(base), "config": {}}
    interrupt(tmp_path, tokenizer, **settings)
    train("bart", tokenizer, tmp_path / "base", num_epochs=1)
    train("bart", tokenizer, tmp_path, **settings)
    assert "because of checkpoint\n" in capsys.readouterr().err


def test_what_has_changed_is_named(tokenizer, tmp_path: Path, capsys) -> None:
    interrupt(tmp_path, tokenizer, evaluations=8, weight_decay=0.1)
    train("bart", tokenizer, tmp_path, evaluations=8, weight_decay=0.2)
    assert "members.bart.weight_decay (0.1 is now 0.2)\n" in capsys.readouterr().err


def test_the_fingerprint_is_of_everything_that_decides_the_weights(tokenizer) -> None:
    values: dict[str, Any] = {"tokenizer": tokenizer, "checkpoint": "abc", "train": ROWS[:4], "dev": ROWS[4:8]}
    first = fingerprint({"seed": 1}, **values)
    assert first == fingerprint({"seed": 1}, **values)
    for name, other in (
        ("tokenizer", bpe(500)),
        ("checkpoint", "abd"),
        ("train", ROWS[:5]),
        ("train", ROWS[3::-1]),
        ("dev", ROWS[4:9]),
        ("train", [replace(row, topic="another one") for row in ROWS[:4]]),
        ("dev", [replace(row, topic="another one") for row in ROWS[4:8]]),
    ):
        assert fingerprint({"seed": 1}, **{**values, name: other}) != first, name
    assert fingerprint({"seed": 2}, **values) != first
    assert code_digest() in first.values()
    for package in ("torch", "transformers", "tokenizers", "numpy", "kiwipiepy", "rouge-score"):
        assert first[f"version of {package}"] == metadata.version(package)


def test_other_versions_of_libraries_start_over(tokenizer, tmp_path: Path, capsys) -> None:
    values = {"tokenizer": tokenizer, "checkpoint": "", "train": ROWS[:4], "dev": ROWS[4:8]}
    expected = fingerprint({"seed": 1}, **values)
    assert find_checkpoint(tmp_path, expected) is None
    (tmp_path / "checkpoint-2").mkdir()
    (tmp_path / "checkpoint-2" / "trainer_state.json").write_text("{}")
    assert find_checkpoint(tmp_path, expected) == Checkpoint(path=tmp_path / "checkpoint-2", finished=False)
    for package in ("torch", "transformers", "tokenizers"):
        assert find_checkpoint(tmp_path, {**expected, f"version of {package}": "0.1"}) is None
        assert f"version of {package}" in capsys.readouterr().err


def test_the_code_that_decides_a_training_is_in_its_fingerprint(tmp_path: Path) -> None:
    package = tmp_path / "yoyak"
    shutil.copytree(Path(yoyak.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    before = code_digest(package)
    assert before == code_digest()
    for name in ("serving/model.py", "tracking/client.py"):
        (package / name).write_text("changed")
    assert code_digest(package) == before
    for name in ("scoring/rouge.py", "models/text.py", "training/dataset.py", "decoding/torch.py"):
        (package / name).write_text("changed")
        assert code_digest(package) != before
        before = code_digest(package)


def test_importing_it_is_light() -> None:
    code = "import sys, yoyak.training.recovery; print(*(name for name in ('torch', 'mlflow') if name in sys.modules))"
    completed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert completed.stdout == "\n"


def test_two_trainings_never_write_to_the_same_checkpoints(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys\n"
        "from yoyak.training.recovery import lock_checkpoints\n"
        "with lock_checkpoints(pathlib.Path(sys.argv[1])): print('locked')"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "bart")]
    with lock_checkpoints(tmp_path / "bart"):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert second.returncode != 0
        assert f"another training writes its checkpoints to {tmp_path / 'bart'}" in second.stderr
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "locked\n"
    assert not list(tmp_path.iterdir())
