"""The report says of which share of the dialogues a member has not read all at once, and what it did with them."""

from __future__ import annotations

import json
from pathlib import Path

from trained_members import parse_trained
from yoyak import project
from yoyak.params import parse_member
from yoyak.reporting.windows import make_table

MEMBER = {"family": "seq2seq", "config": {"model_type": "bart"}, "tokenizer": "bpe", "learning_rate": 0.1}


def write(root: Path, member: str, split: str, read: list[str | None]) -> None:
    path = root / project.predictions_folder(member) / f"{split}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"fname": f"{index}", "candidates": [], **({"read": how} if how else {})} for index, how in enumerate(read)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def test_shares_are_by_member_and_split(tmp_path: Path) -> None:
    members = {
        "bart": parse_trained({**MEMBER, "truncate": "both"}),
        "long": parse_trained({**MEMBER, "max_input_tokens": 1024, "windows": {"max_parts": 4}}),
    }
    write(tmp_path, "bart", "test", ["both", None, None, "both"])
    write(tmp_path, "bart", "dev", [None, None])
    write(tmp_path, "long", "test", ["windows", None, None, None])
    table = make_table(tmp_path, members, ["test", "dev"])
    assert table is not None
    assert table.columns[-2:] == ("test", "dev")
    assert table.rows == (
        ("bart", "512", "both ends", "50% (2 both)", "0%"),
        ("long", "1,024", "up to 4 parts, of more the beginning", "25% (1 windows)", "–"),
    )


def test_members_without_a_window_need_no_table(tmp_path: Path) -> None:
    api = parse_member({"family": "api", "base_url": "http://127.0.0.1:1/v1", "model": "m", "prompt": "prompts/a.yaml"})
    assert make_table(tmp_path, {"api": api}, ["test"]) is None
