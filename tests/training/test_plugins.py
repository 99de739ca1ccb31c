"""Another package's callback and metric, as docs/develop.md describes them, take part in a training."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training.tiny_training import MASKS, TEXTS, train
from yoyak.errors import UserError
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer

DOCS = Path(__file__).parents[2] / "docs/develop.md"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Install the package of the documentation, as pip would."""
    section = DOCS.read_text(encoding="utf-8").partition("## How to add a callback or a metric")[2]
    declared, code = re.findall(r"```\w+\n(.*?)```", section, re.S)[:2]
    folder = tmp_path / "packages"
    info = folder / "my_metrics-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_metrics\nVersion: 1.0\n")
    groups = re.sub(r'\[project\.entry-points\."(.*?)"\]', r"[\1]", declared).replace('"', "")
    (info / "entry_points.txt").write_text(groups)
    (folder / "my_metrics.py").write_text(code)
    monkeypatch.syspath_prepend(str(folder))
    yield
    sys.modules.pop("my_metrics", None)


@pytest.mark.usefixtures("package")
def test_they_see_every_evaluation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
    logged: dict[int, float] = {}
    result = train(
        "bart", tokenizer, tmp_path, callbacks=["longest"], metrics=["chars"],
        log=lambda step, values: logged.update({step: values["eval_chars"]} if "eval_chars" in values else {}),
    )  # fmt: skip
    assert len(logged) == sum("eval_combined" in row for row in result.curves) == 2
    assert all(value >= 0 for value in logged.values())
    highest = max(row["loss"] for row in result.curves if "loss" in row)
    assert f"highest loss: {highest}" in capsys.readouterr().out


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"callbacks": ["longst"]}, "longest"),
        ({"metrics": ["char"]}, "chars"),
        ({"metrics": ["nothing"]}, "yoyak.metrics"),
    ],
)
def test_what_is_not_installed_is_named(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
    with pytest.raises(UserError, match=rf"members\.bart.*{words}"):
        train("bart", tokenizer, tmp_path, **values)
    assert not (tmp_path / "model").exists()
