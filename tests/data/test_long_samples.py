"""Long dialogues of the generator: their turns, their splits, and facts that their summaries state."""

from __future__ import annotations

import csv
import hashlib
import io

import pytest

from yoyak.behaviour.accuracy import check_facts
from yoyak.data.facts import KnownFacts
from yoyak.data.records import Dialogue
from yoyak.data.samples import generate_long, write_samples
from yoyak.errors import UserError


def rows_of(n: int = 12, seed: int = 1) -> list[tuple[Dialogue, KnownFacts]]:
    return list(generate_long(n, seed, (50, 120), split="test"))


def test_turns_are_within_the_range_and_a_seed_gives_the_same_rows() -> None:
    rows = rows_of()
    assert rows == rows_of()
    assert rows[:5] == rows_of(5)
    assert all(50 <= len(row.dialogue.split("\n")) <= 120 for row, _ in rows)
    assert {row.slice for row, _ in rows} == {"up to 100 turns", "up to 200 turns"}
    assert len({row.dialogue for row, _ in rows}) == len(rows)
    assert all(len(row.summaries) == 3 and row.summaries[0].count(". ") >= 2 for row, _ in rows)


def test_every_reference_has_all_facts_and_nothing_that_was_taken_back() -> None:
    rows = rows_of(20, 4)
    for reference in range(3):
        results = check_facts(
            [row.summaries[reference] for row, _ in rows], [row for row, _ in rows], [facts for _, facts in rows]
        )
        assert all(result["all"] for result in results)


def test_other_splits_have_other_conversations() -> None:
    def lines(split):
        return [row.dialogue for row, _ in generate_long(6, 1, (50, 80), split=split)]

    digests = {hashlib.sha256(text.encode()).digest() for split in ("train", "dev", "test") for text in lines(split)}
    assert len(digests) == 18


def test_the_file_is_read_as_a_test_set() -> None:
    out = io.StringIO()
    write_samples(out, 2, 1, turns=(50, 60))
    header, *rows = list(csv.reader(io.StringIO(out.getvalue())))
    assert header == ["fname", "dialogue", "summary1", "summary2", "summary3", "topic", "slice", "facts"]
    assert [row[0] for row in rows] == ["long_train_0", "long_train_1"]


def test_too_few_turns_are_refused() -> None:
    with pytest.raises(UserError, match="at least 20 turns"):
        write_samples(io.StringIO(), 1, 1, turns=(5, 8))
