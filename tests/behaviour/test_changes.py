"""Changed dialogues: filler, order, speakers."""

from __future__ import annotations

import pytest

from yoyak.behaviour.changes import add_filler, reorder, swap_names

TURNS = ["A: 하나", "B: 둘", "A: 셋", "B: 넷"]


def test_filler_is_added_and_nothing_else_changes() -> None:
    changed = add_filler(TURNS, ["음.", "아."])
    assert [turn for turn in changed if turn in TURNS] == TURNS
    assert [turn for turn in changed if turn not in TURNS] == ["A: 아.", "B: 음."]
    assert len(add_filler(TURNS[:2], ["음."])) == 3


def test_two_turns_change_places() -> None:
    assert reorder(TURNS, 2, 4) == ["A: 하나", "B: 넷", "A: 셋", "B: 둘"]


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("#Person1#은 #Person2#를 만난다.", ("#Person1#", "#Person2#"), "#Person2#는 #Person1#을 만난다."),
        ("#Person1#이 이야기한다.", ("#Person1#", "#Person2#"), "#Person2#가 이야기한다."),
        ("#Person10#은 #Person1#과 간다.", ("#Person1#", "#Person2#"), "#Person10#은 #Person2#와 간다."),
        ("민수는 지은을 본다.", ("민수", "지은"), "지은은 민수를 본다."),
        ("Tom calls Tommy and Ann.", ("Tom", "Ann"), "Ann calls Tommy and Tom."),
    ],
)
def test_swapped_names_take_their_particles(text: str, names: tuple[str, str], expected: str) -> None:
    assert swap_names(text, *names) == expected
    assert swap_names(expected, *names) == text
