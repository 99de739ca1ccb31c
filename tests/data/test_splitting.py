"""Splits: what is together, what moves and what does not."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from yoyak.data.keys import dialogue_key
from yoyak.data.reading import SourceRow
from yoyak.data.records import Dialogue
from yoyak.data.source_rows import SourceRows, store_rows
from yoyak.data.splitting import SplitRows, split_rows
from yoyak.errors import UserError


def make_rows(texts: list[str], groups: list[str] | None = None) -> SourceRows:
    return store_rows(
        SourceRow(
            value=Dialogue(fname=str(number), dialogue=text, summaries=("요약",)),
            location=f"row {number}",
            group=groups[number - 1] if groups else "",
        )
        for number, text in enumerate(texts, 1)
    )


def shuffled(rows: SourceRows, chance: random.Random) -> SourceRows:
    return store_rows(chance.sample([*rows], len(rows)))


def fnames(rows: Iterable[SourceRow]) -> list[str]:
    return [row.value.fname for row in rows]


def split_by_fname(split: SplitRows) -> dict[str, str]:
    return {row.value.fname: name for name, rows in split.rows.items() for row in rows}


def split_rows_if_enough(rows: SourceRows, chosen: dict[str, float], seed: int) -> dict[str, SourceRows]:
    try:
        return split_rows(rows, chosen, seed, file="f").rows
    except UserError:
        reject()


FIRST = [f"#Person1#: {number}" for number in range(300)]
SHARES = {"dev": 0.1, "test": 0.1}
GATED = {**SHARES, "gate": 0.1}
numbers = st.lists(st.integers(0, 30), min_size=3, max_size=60).filter(lambda values: len(set(values)) >= 3)
shares = st.tuples(st.floats(0.01, 0.49), st.floats(0.01, 0.49))
gate_shares = st.tuples(st.floats(0.01, 0.32), st.floats(0.01, 0.32), st.floats(0.01, 0.32))
seeds = st.integers(0, 2**32 - 1)


@given(numbers, shares, seeds)
def test_equal_dialogues_stay_together_and_every_row_is_in_one_split(
    values: list[int], chosen: tuple[float, float], seed: int
) -> None:
    # The same dialogue in other case and spacing is a repetition.
    rows = make_rows([f"#Person1#: Number {v}" if i % 2 else f"#person1#:  number{v}" for i, v in enumerate(values)])
    split = split_rows(rows, dict(zip(("dev", "test"), chosen, strict=True)), seed, file="f")
    assert list(split.rows) == ["train", "dev", "test"]
    assert all(split.rows.values())
    assert not split.overlaps
    assert sorted(split_by_fname(split), key=int) == fnames(rows)
    keys = [{dialogue_key(row.value.dialogue) for row in part} for part in split.rows.values()]
    assert sum(len(split_keys) for split_keys in keys) == len(set().union(*keys))
    for part in split.rows.values():
        assert fnames(part) == sorted(fnames(part), key=int)


@given(st.lists(st.integers(0, 60), min_size=12, max_size=80), gate_shares, st.floats(0.01, 0.32), seeds)
def test_any_share_of_gate_moves_nothing_but_training_rows(
    values: list[int], chosen: tuple[float, float, float], other_share: float, seed: int
) -> None:
    rows = make_rows([f"#Person1#: {value}" for value in values])
    dev, test, gate = chosen
    without = split_rows_if_enough(rows, {"dev": dev, "test": test}, seed)
    for share in (gate, other_share):
        split = split_rows_if_enough(rows, {"dev": dev, "test": test, "gate": share}, seed)
        assert list(split) == ["train", "dev", "test", "gate"]
        assert all(split.values())
        assert split["dev"] == without["dev"]
        assert split["test"] == without["test"]
        assert sorted(fnames([*split["train"], *split["gate"]]), key=int) == fnames(without["train"])
        keys = [{row.value.dialogue for row in split[name]} for name in ("train", "gate")]
        assert not keys[0] & keys[1]


@given(st.lists(st.text(min_size=1, max_size=5), max_size=300), seeds, st.randoms())
def test_new_rows_do_not_move_existing_ones(new: list[str], seed: int, chance: random.Random) -> None:
    old = split_by_fname(split_rows(make_rows(FIRST), GATED, seed, file="f"))
    rows = shuffled(make_rows(FIRST + new), chance)
    more = split_by_fname(split_rows(rows, GATED, seed, file="f"))
    assert {fname: more[fname] for fname in old} == old


@given(st.lists(st.integers(0, 40), min_size=3, max_size=200).filter(lambda groups: len(set(groups)) > 2), seeds)
def test_a_group_stays_together_whatever_its_dialogues_say(groups: list[int], seed: int) -> None:
    rows = make_rows([f"#Person1#: {i}" for i in range(len(groups))], [f"call {group}" for group in groups])
    split = split_rows(rows, {"dev": 0.2, "test": 0.2}, seed, file="f")
    splits_by_group: dict[str, set[str]] = {}
    for name, part in split.rows.items():
        for row in part:
            splits_by_group.setdefault(row.group, set()).add(name)
    assert len(splits_by_group) == len(set(groups))
    assert all(len(names) == 1 for names in splits_by_group.values())


def test_another_share_of_one_split_moves_nothing_in_the_other() -> None:
    rows = make_rows(FIRST)
    narrow = split_rows(rows, {"dev": 0.1, "test": 0.1}, 1, file="f").rows
    wide = split_rows(rows, {"dev": 0.1, "test": 0.3}, 1, file="f").rows
    without_test = split_rows(rows, {"dev": 0.1}, 1, file="f").rows
    assert fnames(narrow["dev"]) == fnames(wide["dev"]) == fnames(without_test["dev"])
    assert set(fnames(narrow["test"])) < set(fnames(wide["test"]))


def test_other_shares_of_dev_and_test_do_not_change_gate_and_a_larger_gate_keeps_its_rows() -> None:
    rows = make_rows(FIRST)
    narrow = split_rows(rows, GATED, 1, file="f").rows
    wide = split_rows(rows, {"dev": 0.2, "test": 0.4, "gate": 0.1}, 1, file="f").rows
    assert fnames(narrow["gate"]) == fnames(wide["gate"])
    larger = split_rows(rows, {**SHARES, "gate": 0.6}, 1, file="f").rows
    assert set(fnames(narrow["gate"])) < set(fnames(larger["gate"]))


def test_gate_ends_where_train_does_if_dev_and_test_leave_little() -> None:
    rows = make_rows([f"#Person1#: {number}" for number in range(10_000)])
    split = split_rows(rows, {"dev": 0.1, "test": 0.7, "gate": 0.1}, 1, file="f").rows
    assert {name: len(part) for name, part in split.items()} == {
        "train": pytest.approx(1000, abs=150),
        "dev": pytest.approx(1000, abs=150),
        "test": pytest.approx(7000, abs=250),
        "gate": pytest.approx(1000, abs=150),
    }


def test_a_dialogue_of_two_groups_stays_in_the_held_out_one() -> None:
    groups = [f"call {number}" for number in range(60)]
    before = split_rows(make_rows(FIRST[:60], groups), SHARES, 3, file="f")
    [tested, developed, trained] = [before.rows[name][0] for name in ("test", "dev", "train")]
    texts = [*FIRST[:60], tested.value.dialogue, tested.value.dialogue, developed.value.dialogue]
    rows = make_rows(texts, [*groups, developed.group, trained.group, trained.group])
    after = split_rows(rows, SHARES, 3, file="f")
    assert {name: fnames(left_out) for name, left_out in after.overlaps.items()} == {
        "test": ["61", "62"],
        "dev": ["63"],
    }
    assert split_by_fname(after) == split_by_fname(before)


def test_shares_are_approximately_kept() -> None:
    rows = make_rows([f"#Person1#: {i // 2}" for i in range(10_000)])
    split = split_rows(rows, {"dev": 0.1, "test": 0.2, "gate": 0.15}, 20, file="f").rows
    assert len(split["dev"]) == pytest.approx(1000, abs=150)
    assert len(split["test"]) == pytest.approx(2000, abs=150)
    assert len(split["gate"]) == pytest.approx(1500, abs=150)


@pytest.mark.parametrize("seed", range(20))
def test_a_small_file_fills_every_split_and_says_so(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rows = make_rows(["가", "나", "다", "라"])
    split = split_rows(rows, {"dev": 1e-6, "test": 1e-6}, seed, file="data/train.csv").rows
    assert [len(part) for part in split.values()] == [2, 1, 1]
    assert caplog.text.count("data/train.csv") == 2
    assert "dev" in caplog.text and "test" in caplog.text


@pytest.mark.parametrize("seed", range(20))
def test_a_small_file_has_a_gate_too_or_is_refused(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rows = make_rows(["가", "나", "다", "라"])
    split = split_rows(rows, {"dev": 1e-6, "test": 1e-6, "gate": 1e-6}, seed, file="data/train.csv").rows
    assert {name: len(part) for name, part in split.items()} == dict.fromkeys(("train", "dev", "test", "gate"), 1)
    assert caplog.text.count("data/train.csv") == 3
    with pytest.raises(UserError, match=r"data/train\.csv .*data\.split\.gate"):
        split_rows(rows, {"dev": 0.005, "test": 0.99, "gate": 0.001}, seed, file="data/train.csv")


def test_the_order_of_rows_does_not_matter_and_the_seed_does() -> None:
    rows = make_rows(FIRST)
    in_other_order = shuffled(rows, random.Random(1))
    first, again, other = (
        split_by_fname(split_rows(values, SHARES, seed, file="f"))
        for values, seed in ((rows, 1), (in_other_order, 1), (rows, 2))
    )
    assert first == again != other


def test_too_few_different_dialogues_are_an_error() -> None:
    with pytest.raises(UserError, match=r"data/train\.csv has 2 .*at least 3.*data\.files"):
        split_rows(make_rows(["가", "나", "가"]), SHARES, 1, file="data/train.csv")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({"dev": 0.0}, r"data\.split\.dev is 0"),
        ({"dev": 0.5, "test": 0.5}, r"data\.split\.dev and data\.split\.test .*below 1"),
    ],
)
def test_impossible_shares_are_an_error(chosen: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        split_rows(make_rows(list("가나다라마")), chosen, 1, file="f")
