"""`yoyak fold`: members for the parts of the training set, and a params file that changes nowhere else."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from yoyak.cli import main
from yoyak.errors import UserError
from yoyak.params import Params, TrainedMember, load
from yoyak.params.folds import add_folds
from yoyak.params.overrides import read_yaml

ROOT = Path(__file__).parents[2]
TEXT = """\
# all of it
seed: 7
tokenizers: {bpe: {type: bpe, vocab_size: 600}}

members:
  # the first one
  bart:  # a BART
    # what it is
    family: seq2seq
    config: {model_type: bart}

    tokenizer: bpe
    learning_rate: 1e-3 # not 0.001
  # the second one
  flow: {family: causal, config: {model_type: gpt2}, tokenizer: bpe, learning_rate: 1e-3,
         batch_size: 4}
  final:
    family: causal
    checkpoint: kogpt2
    learning_rate: 5e-5"""


def added_lines(before: str, after: str) -> list[str]:
    """Return the lines that were added; fails if another one was changed or removed."""
    changes = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert not [line for line in changes if line.startswith("-")]
    return [line.removeprefix("+ ") for line in changes if line.startswith("+ ")]


@pytest.mark.parametrize("member", ["bart", "flow", "final"])
def test_only_the_new_members_are_added(member: str, tmp_path: Path) -> None:
    text = add_folds(TEXT, "params.yaml", member, 3)
    assert added_lines(TEXT, text)
    (tmp_path / "old.yaml").write_text(TEXT)
    (tmp_path / "new.yaml").write_text(text)
    old, new = read_yaml(tmp_path / "old.yaml"), read_yaml(tmp_path / "new.yaml")
    names = [f"{member}_fold{index}" for index in (1, 2, 3)]
    for index, name in enumerate(names, 1):
        assert new["members"].pop(name) == {**old["members"][member], "fold": {"index": index, "of": 3}}
    assert new == old


def test_a_copy_has_the_comments_of_its_member() -> None:
    text = add_folds(TEXT, "params.yaml", "bart", 2)
    start = text.index("  bart_fold1:")
    assert (
        text[start : text.index("  bart_fold2:")]
        == """\
  bart_fold1:  # a BART
    # what it is
    fold: {index: 1, of: 2}
    family: seq2seq
    config: {model_type: bart}

    tokenizer: bpe
    learning_rate: 1e-3 # not 0.001
"""
    )


@pytest.mark.parametrize(
    ("member", "problem"),
    [("barr", "no member 'barr'.*bart"), ("bart_fold1", "has a fold"), ("bart", "bart_fold1 already")],
)
def test_what_cannot_be_folded_is_one_sentence(member: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        add_folds(add_folds(TEXT, "params.yaml", "bart", 2), "params.yaml", member, 2)


@pytest.mark.parametrize(
    "path", [ROOT / "params.yaml", *sorted((ROOT / "presets").glob("*.yaml"))], ids=lambda path: path.stem
)
def test_every_preset_can_be_folded(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    members = load(Params, path, env={}).members
    for name in [name for name, member in members.items() if isinstance(member, TrainedMember)]:
        assert len([line for line in added_lines(text, add_folds(text, path.name, name, 5)) if "fold: {" in line]) == 5


def test_the_verb_writes_the_file(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(TEXT)
    assert main(["fold", "final", "2"]) == 0
    assert "final_fold1 … final_fold2" in capsys.readouterr().out
    assert Path("params.yaml").read_text() == add_folds(TEXT, "params.yaml", "final", 2)
    assert main(["fold", "final", "1"]) == 2


def test_a_part_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(TEXT + "\n    fold: {index: 3, of: 2}\n")
    with pytest.raises(UserError, match="there is no part 3 of 2"):
        load(Params, tmp_path / "params.yaml", env={})
