"""What a training says of itself on the way: a line for each evaluation, and TensorBoard's event files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from training.tiny_training import MASKS, TEXTS, train
from yoyak.errors import UserError
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.process import without_packages

VALUES: dict[str, Any] = {"num_epochs": 1, "evaluations": 2}


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


def test_each_evaluation_says_how_fast_it_goes_and_when_it_ends(tokenizer, tmp_path: Path, capsys) -> None:
    train("bart", tokenizer, tmp_path, **VALUES)
    first, second = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    line = r"epoch {}: dev loss [\d.]+, dev ROUGE [\d.]+; [\d.e+]+ dialogues/s, [\d,]+ MB"
    assert re.fullmatch(line.format(r"0\.5") + r", ends in \d+:\d\d:\d\d", first)
    assert re.fullmatch(line.format(r"1\.0"), second)


def test_without_the_package_it_is_one_sentence(tokenizer, tmp_path: Path) -> None:
    with (
        without_packages("tensorboard"),
        pytest.raises(UserError, match=r"members\.bart\.tensorboard needs the package tensorboard"),
    ):
        train("bart", tokenizer, tmp_path, tensorboard=True, **VALUES)


def test_tensorboard_shows_the_curves(tokenizer, tmp_path: Path, monkeypatch) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.chdir(tmp_path)
    result = train("bart", tokenizer, tmp_path, tensorboard=True, **VALUES)
    [folder] = (tmp_path / "logs/tensorboard/bart").iterdir()
    events = accumulator.EventAccumulator(str(folder)).Reload()
    for name in ("loss", "eval_loss", "eval_combined"):
        expected = [(int(row["step"]), pytest.approx(row[name])) for row in result.curves if name in row]
        assert [(event.step, event.value) for event in events.Scalars(name)] == expected
