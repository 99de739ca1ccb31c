"""`yoyak export` and `yoyak convert`: which model is meant, where it goes, and what a person is told."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from onnx_models import save_model
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.errors import UserError
from yoyak.export.source import find_export, find_source
from yoyak.stages import convert, summarize


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two members and a soup, as far as their names are concerned."""
    monkeypatch.chdir(tmp_path)
    for folder in ("models/bart", "models/t5", "ensembles/soup/model", "ensembles/vote"):
        (tmp_path / folder).mkdir(parents=True)
        if folder != "ensembles/vote":
            (tmp_path / folder / "yoyak.json").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("bart", "models/bart"),
        ("soup", "ensembles/soup/model"),
    ],
)
def test_a_model_is_found_by_its_name(name: str, path: str, project: Path) -> None:
    assert find_source(name) == Path(path)


def test_a_model_that_does_not_exist_is_named_with_the_nearest(project: Path) -> None:
    with pytest.raises(UserError, match=r"'brat'.*'bart'"):
        find_source("brat")


def test_exactly_one_exported_model_is_expected(project: Path) -> None:
    with pytest.raises(UserError, match="no exported model"):
        find_export()
    for name in ("bart", "t5"):
        folder = project / "exports" / name
        folder.mkdir(parents=True)
        (folder / "onnx.json").touch()
        if name == "bart":
            assert find_export() == Path("exports/bart")
    with pytest.raises(UserError, match="2 exported models"):
        find_export()


def test_a_folder_with_other_contents_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        convert.run("models/bart", str(tmp_path))


def test_any_model_is_exported_and_used_from_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    save_model("gpt2", tmp_path / "model")
    convert.run("model", "out", precision="int4")
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("out: 0.")
    assert OnnxSummarizer.load("out").manifest.precision == "int4"
    (tmp_path / "rows.csv").write_text("fname,dialogue\na,#Person1#: 네?\n", encoding="utf-8")
    summarize.run("out", input="rows.csv", output="summaries.csv")
    assert (tmp_path / "summaries.csv").read_text(encoding="utf-8").startswith("fname,summary\na,")
