"""`yoyak export` and `yoyak convert`: which model is meant, where it goes, and what a person is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onnx_models import save_model
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.errors import UserError
from yoyak.scoring.results import EvaluationSummary, Part, PrimaryScore, write_summary
from yoyak.stages import convert, export, summarize

SUMMARY = EvaluationSummary(
    primary=PrimaryScore(granularity="morpheme", multi_reference="mean", metric="combined"),
    confidence=0.95,
    bootstrap_samples=200,
    systems={"bart": "member", "t5": "member", "lead3": "baseline"},
    parts=(Part(split="dev", slice="all", n=1),),
    scores=(),
    comparisons=(),
    best_member="t5",
    best_ensemble=None,
    best_baseline="lead3",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two members and a soup, of which only the files that name them are there."""
    monkeypatch.chdir(tmp_path)
    for place in ("models/bart", "models/t5", "ensembles/soup/model", "ensembles/vote"):
        (tmp_path / place).mkdir(parents=True)
        if place != "ensembles/vote":
            (tmp_path / place / "yoyak.json").touch()
    (tmp_path / "evaluation").mkdir()
    write_summary(SUMMARY, tmp_path / "evaluation")
    return tmp_path


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("best", ("t5", "models/t5")),
        ("bart", ("bart", "models/bart")),
        ("soup", ("soup", "ensembles/soup/model")),
    ],
)
def test_a_model_is_found_by_its_name(wanted: str, found: tuple[str, str], folder: Path) -> None:
    assert export.find(wanted) == (found[0], Path(found[1]))


def test_a_name_that_is_none_is_one_sentence(folder: Path) -> None:
    with pytest.raises(UserError, match=r"export.model is 'brat', and no model is named so \(did you mean 'bart'\?\)"):
        export.find("brat")


def test_a_folder_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        convert.run("models/bart", str(tmp_path))


def test_any_model_is_exported_and_used_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model("gpt2", tmp_path / "model")
    convert.run("model", "out", precision="int4")
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("out: 0.")
    assert OnnxSummarizer.load("out").about.precision == "int4"
    (tmp_path / "rows.csv").write_text("fname,dialogue\na,#Person1#: 네?\n", encoding="utf-8")
    summarize.run(model="out", input="rows.csv", output="summaries.csv")
    assert (tmp_path / "summaries.csv").read_text(encoding="utf-8").startswith("fname,summary\na,")
