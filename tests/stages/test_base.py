"""What a member's training starts from changes with its own tokenizer and checkpoint, and with nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from yoyak.errors import UserError
from yoyak.stages import base

PARAMS = """
tokenizers:
  bpe: {type: bpe, vocab_size: 400}
members:
  own: {family: seq2seq, config: {model_type: bart}, tokenizer: bpe, learning_rate: 0.1}
  local: {family: seq2seq, checkpoint: pretrained/mine, learning_rate: 0.1}
  elsewhere: {family: seq2seq, checkpoint: other/mine, learning_rate: 0.1}
  hub: {family: seq2seq, checkpoint: gogamza/kobart-base-v2, revision: abc, learning_rate: 0.1}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(PARAMS)
    for name in ("pretrained/mine", "other/mine", "prepared/tokenizers/bpe"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.json").write_text("{}")
    return tmp_path


def checkpoint(member: str) -> dict[str, str | None]:
    base.run(member)
    return dict(json.loads(Path("bases", member, "checkpoint.json").read_text()))


def test_a_member_gets_its_own_tokenizer(folder: Path) -> None:
    assert checkpoint("own") == {"checkpoint": None, "revision": None, "md5": None}
    assert (folder / "bases/own/tokenizer/config.json").is_file()


def test_a_local_checkpoint_is_known_by_its_content(folder: Path) -> None:
    before = checkpoint("local")
    assert before["md5"]
    (folder / "pretrained/mine/config.json").write_text('{"changed": true}')
    assert checkpoint("local")["md5"] != before["md5"]
    assert not (folder / "bases/local/tokenizer").exists()


def test_a_checkpoint_on_the_hub_is_known_by_its_name(folder: Path) -> None:
    assert checkpoint("hub") == {"checkpoint": "gogamza/kobart-base-v2", "revision": "abc", "md5": None}


def test_a_missing_folder_is_named_before_anything_is_trained(folder: Path) -> None:
    (folder / "params.yaml").write_text(PARAMS.replace("pretrained/mine", "pretrained/mime"))
    with pytest.raises(UserError, match=r"members\.local\.checkpoint.*pretrained/mime.*pretrained/mine"):
        base.run("local")


def test_a_folder_that_dvc_does_not_watch_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"members\.elsewhere\.checkpoint .*'other/mine'.* pretrained/"):
        base.run("elsewhere")
    (folder / "pretrained/link").symlink_to(folder / "other/mine")
    (folder / "params.yaml").write_text(PARAMS.replace("pretrained/mine", "pretrained/link"))
    with pytest.raises(UserError, match="pretrained/link"):
        base.run("local")
