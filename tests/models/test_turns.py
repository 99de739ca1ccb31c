"""Which turns of a long dialogue are read, and in which parts."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from yoyak.models.turns import divide_turns, keep_turns

SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=60)


def test_turns_are_kept_from_the_ends_that_are_asked_for() -> None:
    sizes = [10, 20, 30, 20, 10]
    assert keep_turns(sizes, 40, "head") == [0, 1]
    assert keep_turns(sizes, 40, "tail") == [3, 4]
    assert keep_turns(sizes, 40, "both") == [0, 3, 4]
    assert keep_turns(sizes, 60, "both") == [0, 1, 3, 4]
    assert keep_turns(sizes, 90, "both") == [0, 1, 2, 3, 4]
    assert keep_turns([50], 40, "both") == []


@given(SIZES, st.integers(1, 200), st.sampled_from(["head", "tail", "both"]))
def test_what_is_kept_fits_and_is_in_order(sizes: list[int], room: int, keep: str) -> None:
    kept = keep_turns(sizes, room, keep)
    assert kept == sorted(set(kept))
    assert sum(sizes[index] for index in kept) <= room
    if sum(sizes) <= room:
        assert kept == list(range(len(sizes)))


@given(SIZES, st.integers(40, 200), st.integers(0, 5))
def test_parts_have_every_turn_and_fit(sizes: list[int], room: int, overlap: int) -> None:
    parts = divide_turns(sizes, room, overlap)
    assert sorted({index for part in parts for index in part}) == list(range(len(sizes)))
    assert all(sum(sizes[index] for index in part) <= room for part in parts)
    for part, after in pairwise(parts):
        assert part.start <= after.start <= part.stop < after.stop
        assert part.stop - after.start <= overlap
    without = divide_turns(sizes, room, 0)
    assert len(without) <= len(parts)


def test_parts_are_of_similar_sizes_and_overlap() -> None:
    assert divide_turns([10] * 12, 100, 0) == [range(6), range(6, 12)]
    assert divide_turns([10] * 12, 100, 2) == [range(7), range(5, 12)]
    assert divide_turns([500, 10], 100, 1) == [range(1), range(1, 2)]
