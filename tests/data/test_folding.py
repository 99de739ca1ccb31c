"""Parts of the training set: together they are all of it, and no group is in two of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from yoyak.data.folding import hold_out
from yoyak.data.preparing import prepare_splits
from yoyak.data.records import read_jsonl, write_jsonl
from yoyak.data.samples import generate
from yoyak.errors import UserError
from yoyak.params import Data

ROWS = list(generate(200, 3, split="train"))


def test_the_parts_cover_the_training_set() -> None:
    parts = [hold_out(ROWS, index, 5) for index in range(1, 6)]
    held_out = [row.fname for _, part in parts for row in part]
    assert sorted(held_out) == sorted(row.fname for row in ROWS)
    for kept, part in parts:
        assert {row.fname for row in kept} == {row.fname for row in ROWS} - {row.fname for row in part}
        assert 20 <= len(part) <= 60


def test_a_group_is_in_one_part_and_other_rows_move_nothing() -> None:
    grouped = [replace(row, group=f"conversation {number // 4}") for number, row in enumerate(ROWS)]
    for index in range(1, 4):
        kept, part = hold_out(grouped, index, 3)
        assert not {row.group for row in kept} & {row.group for row in part}
        assert hold_out(grouped[:100], index, 3)[1] == [row for row in part if row in grouped[:100]]


def test_the_same_dialogue_is_in_one_part() -> None:
    twice = [*ROWS, *(replace(row, fname=f"again {row.fname}", dialogue=f" {row.dialogue}") for row in ROWS)]
    kept, part = hold_out(twice, 1, 3)
    assert not {row.dialogue.strip() for row in kept} & {row.dialogue.strip() for row in part}


def test_a_held_out_dialogue_is_not_trained_on_in_another_group() -> None:
    rows = [replace(row, group=f"a{number}") for number, row in enumerate(ROWS)]
    rows += [replace(row, fname=f"again {row.fname}", group=f"b{number}") for number, row in enumerate(ROWS)]
    added = [replace(row, fname=f"{row.fname}~aeda", source=row.fname, method="aeda") for row in rows]
    for index in (1, 2, 3):
        kept, part = hold_out([*rows, *added], index, 3)
        assert not {row.dialogue for row in kept} & {row.dialogue for row in part}
        trained = {row.fname for row in kept if not row.method}
        assert {row.source for row in kept if row.method} == trained


def test_too_few_rows_are_one_sentence() -> None:
    with pytest.raises(UserError, match="1 rows, too few for 2 parts"):
        hold_out(ROWS[:1], 1, 2)


def test_train_keeps_the_groups_of_its_file(tmp_path: Path) -> None:
    lines = ["fname,dialogue,summary,conversation"]
    lines += [f"row{number},#Person1#: number {number},summary {number},c{number // 3}" for number in range(90)]
    (tmp_path / "train.csv").write_text("\n".join(lines))
    data = Data.model_validate(
        {"folder": str(tmp_path), "files": {"train": "train.csv"}, "columns": {"group": "conversation"}}
    )
    train = prepare_splits(data).splits["train"]
    assert all(row.group == f"c{int(row.fname.removeprefix('row')) // 3}" for row in train)
    write_jsonl(tmp_path / "train.jsonl", train)
    assert read_jsonl(tmp_path / "train.jsonl") == train


def test_rows_without_a_group_are_written_as_before(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "rows.jsonl", ROWS[:2])
    assert "group" not in (tmp_path / "rows.jsonl").read_text()
