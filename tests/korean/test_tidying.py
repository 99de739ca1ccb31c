"""What a model reads of a dialogue: without symbols and hesitations, and with masks as words."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoyak.korean.masks import find_masks
from yoyak.korean.tidying import add_topic, clean_symbols, drop_fillers, plain_masks

DIALOGUE = (
    "#Person1#: 음… 저기, 내일 3~5시에 시간 돼요?? ㅋㅋㅋ\n"
    "#Person2#: 어...\n"
    "#Person2#: 네!! 좋아요~ 😀 ^^\n"
    "#Person1#: 그 사람도 와요. 뭐, 괜찮죠…?"
)


def test_symbols_and_laughter_go_and_times_stay() -> None:
    assert clean_symbols(DIALOGUE) == (
        "#Person1#: 음… 저기, 내일 3~5시에 시간 돼요?\n"
        "#Person2#: 어…\n"
        "#Person2#: 네! 좋아요\n"
        "#Person1#: 그 사람도 와요. 뭐, 괜찮죠…?"
    )


def test_hesitations_go_and_words_that_look_like_them_stay() -> None:
    assert drop_fillers(DIALOGUE) == (
        "#Person1#: 내일 3~5시에 시간 돼요?? ㅋㅋㅋ\n#Person2#: 네!! 좋아요~ 😀 ^^\n#Person1#: 그 사람도 와요. 괜찮죠…?"
    )


@pytest.mark.parametrize(
    ("line", "tidy"),
    [
        ("#Person1#: Um, well, I think so. Uh, yes.", "#Person1#: I think so. yes."),
        ("Doctor: ㅋㅋㅋ", "Doctor: ㅋㅋㅋ"),
        ("#Person1#: 음…", "#Person1#: 음…"),
        ("#Person1#: 네.", "#Person1#: 네."),
        ("", ""),
    ],
)
def test_nothing_is_left_without_words(line: str, tidy: str) -> None:
    assert drop_fillers(clean_symbols(line)) == tidy


PIECES = ("!", "?", ".", "~", ",", "…", " ", "ㅋㅋ", "^^", "네", "음", "어", "저기", "😀", ":)", "um", "\n", "#P1#: ")


@pytest.mark.parametrize("step", [clean_symbols, drop_fillers, plain_masks])
@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.just(DIALOGUE))
@example("#Person1#: 네. ㅋㅋ.")
@example("#Person1#: 좋아!~!")
def test_a_step_twice_is_a_step_once(step, dialogue: str) -> None:
    assert step(step(dialogue)) == step(dialogue)
    assert step is plain_masks or find_masks(step(DIALOGUE))


@pytest.mark.parametrize("syllable", ["어", "음", "m"])
def test_a_long_run_of_one_syllable_takes_no_time(syllable: str) -> None:
    line = f"#Person1#: {syllable * 26}라"
    began = time.perf_counter()
    assert drop_fillers(line) == line
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("piece", ["😀", " ", "~", "음, ", ". ", "ㅋㅋ "])
def test_a_long_turn_takes_little_time(piece: str) -> None:
    began = time.perf_counter()
    drop_fillers(clean_symbols(f"#Person1#: {piece * 20_000}네"))
    assert time.perf_counter() - began < 5


def test_masks_become_words() -> None:
    assert (
        plain_masks("#Person1#은 #Card_Number#를 C#과 #맛집# 말한다.") == "Person1은 Card_Number를 C#과 #맛집# 말한다."
    )


def test_a_topic_is_the_first_line_where_there_is_one() -> None:
    assert add_topic("#Person1#: 네.", "식당 예약") == "주제: 식당 예약\n#Person1#: 네."
    assert add_topic("#Person1#: Yes.", "dinner") == "Topic: dinner\n#Person1#: Yes."
    assert add_topic("#Person1#: 네.", "") == "#Person1#: 네."
