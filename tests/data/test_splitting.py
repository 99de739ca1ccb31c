from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.data.checks import fold
from yoyak.data.reading import Row
from yoyak.data.records import Dialogue
from yoyak.data.splitting import cut
from yoyak.errors import UserError


def rows_of(texts: list[str]) -> list[Row]:
    return [
        Row(value=Dialogue(fname=str(number), dialogue=text, summaries=("요약",)), place=f"row {number}")
        for number, text in enumerate(texts, 1)
    ]


def names(rows: list[Row]) -> list[str]:
    return [row.value.fname for row in rows]


numbers = st.lists(st.integers(0, 30), min_size=3, max_size=60).filter(lambda values: len(set(values)) >= 3)
ratios = st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49))


@given(numbers, ratios, st.integers(0, 9))
def test_repeated_dialogues_stay_together_and_every_row_is_in_one_split(
    values: list[int], shares: tuple[float, float], seed: int
) -> None:
    # The same dialogue in other case and spacing is a repetition.
    rows = rows_of([f"#Person1#: Number {v}" if i % 2 else f"#person1#:  number{v}" for i, v in enumerate(values)])
    train, parts = cut(rows, dict(zip(("dev", "test"), shares, strict=True)), seed, file="f")
    splits = [train, parts["dev"], parts["test"]]
    assert all(splits)
    assert sorted(names(train) + names(parts["dev"]) + names(parts["test"]), key=int) == names(rows)
    keys = [{fold(row.value.dialogue) for row in split} for split in splits]
    assert sum(len(each) for each in keys) == len(set().union(*keys))
    for split in splits:
        assert names(split) == sorted(names(split), key=int)


def test_shares_are_kept_with_pairs_of_repeated_dialogues() -> None:
    rows = rows_of([f"#Person1#: {i // 2}" for i in range(1000)])
    train, parts = cut(rows, {"dev": 0.1, "test": 0.2}, 20, file="f")
    assert (len(train), len(parts["dev"]), len(parts["test"])) == (700, 100, 200)


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    rows = rows_of([f"#Person1#: {i}" for i in range(200)])
    shuffled = random.Random(1).sample(rows, len(rows))
    share = {"dev": 0.1, "test": 0.1}
    first, again, other = (
        cut(values, share, seed, file="f")[1] for values, seed in ((rows, 1), (shuffled, 1), (rows, 2))
    )
    for name in share:
        assert set(names(first[name])) == set(names(again[name]))
        assert set(names(first[name])) != set(names(other[name]))


def test_too_few_different_dialogues_are_told() -> None:
    with pytest.raises(UserError) as caught:
        cut(rows_of(["가", "나", "가"]), {"dev": 0.1, "test": 0.1}, 1, file="data/train.csv")
    assert str(caught.value) == (
        "data/train.csv has 2 different dialogues to cut dev, test, train from: "
        "it needs at least 3, or give dev and test a file in data.files."
    )


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"dev": 0.0}, "data.split.dev is 0 but data.files has no dev file"),
        ({"dev": 0.5, "test": 0.5}, "data.split.dev and data.split.test leave no rows for train"),
    ],
)
def test_shares_that_cannot_be_are_told(shares: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        cut(rows_of(list("가나다라마")), shares, 1, file="f")
