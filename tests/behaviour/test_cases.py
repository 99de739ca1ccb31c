"""Files of cases: those that come with Yoyak are valid, and what is wrong with one's own is said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from yoyak.behaviour.cases import load_cases, read_cases
from yoyak.behaviour.changes import texts_of
from yoyak.errors import UserError
from yoyak.korean.facts import find_made_up
from yoyak.serving.target import EXAMPLE

ROOT = Path(__file__).resolve().parents[2]
OWN = """\
language: ko
fillers: [음.]
dialogues:
  - name: dentist
    dialogue: |
      민수: 이가 아파요.
      지은: 어디 볼까요?
    reorder: [1, 2]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "cases/mine.yaml"
    path.parent.mkdir()
    path.write_text(OWN, encoding="utf-8")
    return path


@pytest.mark.parametrize("language", ["ko", "en"])
def test_the_shipped_cases_try_every_check_within_a_hundred_summaries(language: str) -> None:
    file = load_cases([language])[language]
    assert file.language == language
    assert len(file.dialogues) >= {"ko": 24, "en": 12}[language]
    assert len(texts_of([file])) <= 80
    assert sum(case.reorder is not None for case in file.dialogues) >= 5
    assert sum(len(case.turns) == 1 for case in file.dialogues) >= 4
    assert file.fillers
    assert file.empty
    for case in file.dialogues:
        assert all(mention in case.dialogue for mention in case.mentions)


@pytest.mark.parametrize("language", ["ko", "en"])
def test_a_shipped_dialogue_that_is_copied_makes_nothing_up(language: str) -> None:
    dialogues = [case.dialogue for case in load_cases([language])[language].dialogues]
    for found in find_made_up(dialogues, dialogues):
        assert not any(found.values())


def test_a_project_has_its_own_cases(own: Path, tmp_path: Path) -> None:
    loaded = load_cases(["ko", "mine"], tmp_path)
    assert list(loaded) == ["ko", "mine"]
    assert loaded["mine"].dialogues[0].speakers == ["민수", "지은"]
    own.rename(own.with_name("ko.yaml"))
    assert len(load_cases(["ko"], tmp_path)["ko"].dialogues) == 1


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("reorder", "reordr", r"case 'dentist' has no key 'reordr' \(did you mean 'reorder'\?\)"),
        ("fillers", "filers", r"the file has no key 'filers' \(did you mean 'fillers'\?\)"),
        ("language: ko", "language: kr", "language must be one of ko, en"),
        ("[1, 2]", "[1, 3]", "case 'dentist': reorder: must name two of the 2 turns"),
        ("[1, 2]", "[1, x]", r"case 'dentist': reorder\.2: .*'x'"),
        ("민수: ", "민수 ", "case 'dentist': dialogue: turn 1 must be 'speaker: words'"),
        ("name: dentist", "swap: true", "case 1: name: field required"),
        ("language: ko", "language: [", "is not valid YAML"),
    ],
)
def test_an_error_names_file_case_and_key(own: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    own.write_text(OWN.replace(old, new), encoding="utf-8")
    with pytest.raises(UserError, match=message) as error:
        load_cases(["mine"], tmp_path)
    assert "mine.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_two_cases_of_one_name_are_an_error(own: Path, tmp_path: Path) -> None:
    own.write_text(OWN + OWN.partition("dialogues:\n")[2], encoding="utf-8")
    with pytest.raises(UserError, match="two are named 'dentist'"):
        load_cases(["mine"], tmp_path)


def test_unknown_cases_are_an_error_with_the_nearest_name(own: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no cases named 'mien' \(did you mean 'mine'\?\)"):
        load_cases(["mien"], tmp_path)


def test_the_examples_are_what_the_readmes_the_page_and_the_server_show() -> None:
    cases = {case.name: case for case in read_cases(ROOT / "src/yoyak/behaviour/cases/examples.yaml").dialogues}
    dialogues = {case.dialogue.strip() for case in cases.values()}
    page = (ROOT / "src/yoyak/demo/page.js").read_text(encoding="utf-8")
    samples = re.findall(r'lang: "ko",\s+text: `([^`]+)`', page)
    readmes = [
        json.loads(body)["inputs"][0]
        for name in ("README.md", "README.ko.md")
        for body in re.findall(r"""-d '(\{"inputs".*\})'""", (ROOT / name).read_text(encoding="utf-8"))
    ]
    assert len(samples) == 3
    assert len(readmes) == 2
    assert {*samples, *readmes, EXAMPLE} == dialogues


def test_the_reference_result_answers_the_examples_rightly() -> None:
    best = json.loads((ROOT / "metrics/behaviour/bart.json").read_text(encoding="utf-8"))
    assert best["examples"] == 1
