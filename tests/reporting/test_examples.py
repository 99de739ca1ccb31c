from __future__ import annotations

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from yoyak.data.records import Dialogue
from yoyak.reporting.examples import MAX_DIALOGUE_CHARS, Choice, assemble, choose
from yoyak.scoring.results import Part

PARTS = (
    Part(split="test", slice="all", n=30),
    Part(split="test", slice="seen", n=20),
    Part(split="test", slice="unseen", n=10),
    Part(split="handwritten", slice="all", n=3),
    Part(split="dev", slice="all", n=5),
)
SIZES = {("test", "seen"): 20, ("test", "unseen"): 10, ("handwritten", ""): 3, ("dev", ""): 5}


def table() -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "split": split,
                "slice": marker,
                "fname": f"{split}{marker}{number:02}",
                "system": system,
                "combined": number / 20 if system == "bart" else 0.5,
                "rouge1": 0.1,
                "rouge2": 0.1,
                "rougeL": 0.1,
            }
            for (split, marker), size in SIZES.items()
            for number in range(size)
            for system in ("bart", "lead3")
        ]
    )


def test_best_median_and_worst_of_each_part() -> None:
    chosen = choose(table(), PARTS, "bart", 9)
    assert [(choice.part.label, choice.rank, choice.fname) for choice in chosen] == [
        ("test, seen", "best", "testseen19"),
        ("test, seen", "median", "testseen09"),
        ("test, seen", "worst", "testseen00"),
        ("test, unseen", "best", "testunseen09"),
        ("test, unseen", "median", "testunseen05"),
        ("test, unseen", "worst", "testunseen00"),
        ("handwritten", "best", "handwritten02"),
        ("handwritten", "median", "handwritten01"),
        ("handwritten", "worst", "handwritten00"),
    ]


@given(st.integers(min_value=0, max_value=60))
def test_the_requested_number_is_chosen_without_repeats(count: int) -> None:
    chosen = choose(table(), PARTS, "bart", count)
    names = [choice.fname for choice in chosen]
    assert len(names) == len(set(names)) == min(count, 33)
    assert not any(name.startswith("dev") for name in names)


def test_dev_is_shown_if_there_is_no_other_split() -> None:
    assert [choice.fname for choice in choose(table(), PARTS[-1:], "bart", 1)] == ["dev04"]


def test_a_huge_dialogue_is_cut_at_a_turn_and_speakers_are_split_off() -> None:
    lines = ["#Person1#: 안녕", "Doctor: 10:30에 봐요", "말하는 이 없음", *["#Person2#: " + "가" * 500] * 50]
    row = Dialogue(fname="testseen00", dialogue="\n".join(lines), summaries=())
    choice = Choice(part=PARTS[1], fname="testseen00", rank="worst")
    example = assemble(table(), [choice], {("test", "testseen00"): row}, {"bart": {("test", "testseen00"): "요약"}})[0]
    assert example.turns[:3] == (("#Person1#", "안녕"), ("Doctor", "10:30에 봐요"), ("", "말하는 이 없음"))
    assert example.more_turns == len(lines) - len(example.turns) > 30
    assert sum(len(words) for _, words in example.turns) <= MAX_DIALOGUE_CHARS
    assert example.outputs[0].reference == -1
    assert example.outputs[0].scores["combined"] == 0


def test_a_single_endless_turn_is_cut() -> None:
    row = Dialogue(fname="testseen00", dialogue="가" * 100_000, summaries=("요약",))
    choice = Choice(part=PARTS[1], fname="testseen00", rank="worst")
    example = assemble(table(), [choice], {("test", "testseen00"): row}, {})[0]
    assert len(example.turns[0][1]) == MAX_DIALOGUE_CHARS + len(" …")
    assert example.more_turns == 0
