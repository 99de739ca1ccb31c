"""What is given out of what a model wrote: whole masks with their particles, nothing twice, one style."""

from __future__ import annotations

import time

import pytest

from yoyak.data.samples import generate
from yoyak.korean.polishing import drop_repeats, restore_masks
from yoyak.korean.style import to_plain_style, to_polite_style
from yoyak.korean.tidying import plain_masks

DIALOGUE = "#Person1#: 네.\n#Person2#: 아니요.\n#Person3#: #Card_Number#요."


@pytest.mark.parametrize(
    ("written", "restored"),
    [
        ("Person1은 Person2에게 말한다.", "#Person1#은 #Person2#에게 말한다."),
        ("# Person1 #은 # Person2 #와 만난다.", "#Person1#은 #Person2#와 만난다."),
        ("#Person1은 #person2#을 본다.", "#Person1#은 #Person2#를 본다."),
        ("Person3은 Person1로 간다.", "#Person3#는 #Person1#으로 간다."),
        ("#Person1# 은 #Person2# 에게 준다.", "#Person1#은 #Person2#에게 준다."),
        ("#Person1# 이 물건을 산다.", "#Person1# 이 물건을 산다."),
        ("Person1 #Person2#는 다르다.", "#Person1# #Person2#는 다르다."),
        ("Person10은 Person4와 온다.", "Person10은 Person4와 온다."),
        ("Card_Number를 Card_Numbers로", "#Card_Number#를 Card_Numbers로"),
        ("#Person1#은 #Person2#에게 준다.", "#Person1#은 #Person2#에게 준다."),
    ],
)
def test_masks_are_restored_with_their_particles(written: str, restored: str) -> None:
    assert restore_masks(written, DIALOGUE) == restored
    assert restore_masks(restored, DIALOGUE) == restored


def test_without_masks_in_the_dialogue_nothing_is_one() -> None:
    assert restore_masks("Person1은 간다.", "민수: 네.") == "Person1은 간다."


def test_thousands_of_masks_take_little_time() -> None:
    dialogue = " ".join(f"#Person{number}#" for number in range(20_000))
    began = time.perf_counter()
    assert restore_masks("Person7은 Person20001을 안다.", dialogue) == "#Person7#은 Person20001을 안다."
    assert time.perf_counter() - began < 1


def test_a_word_that_is_not_spelled_as_a_mask_stays_a_word() -> None:
    dialogue = "#Person1#: Write to #Email#."
    assert restore_masks("Person1 will email him at Email.", dialogue) == "#Person1# will email him at #Email#."
    assert restore_masks("# email # and person1", dialogue) == "#Email# and #Person1#"


def test_the_references_of_the_corpus_come_back_from_plain_masks() -> None:
    rows = list(generate(150, 3, split="test"))
    assert [restore_masks(plain_masks(row.summaries[0]), row.dialogue) for row in rows] == [
        row.summaries[0] for row in rows
    ]


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("예약을 한다. 예약을 한다. 간다.", "예약을 한다. 간다."),
        ("표 두 장을 표 두 장을 표 두 장을 예매한다.", "표 두 장을 예매한다."),
        ("빨리 빨리 간다.", "빨리 빨리 간다."),
        ("아주 아주 아주 크다.", "아주 크다."),
        ("", ""),
    ],
)
def test_repeats_go(written: str, left: str) -> None:
    assert drop_repeats(written) == left
    assert drop_repeats(left) == left


@pytest.mark.parametrize(
    ("plain", "polite"),
    [
        ("#Person1#은 먹는다.", "#Person1#은 먹습니다."),
        ("#Person2#는 표를 예매한다", "#Person2#는 표를 예매합니다"),
        ("좋지 않다. 가지 않는다.", "좋지 않습니다. 가지 않습니다."),
        ("학생이다. 아니다. 조용하다.", "학생입니다. 아닙니다. 조용합니다."),
        ("만든다. 하고 있다. 할 수 없다.", "만듭니다. 하고 있습니다. 할 수 없습니다."),
        ("예약했다! 가겠다.", "예약했습니다! 가겠습니다."),
        ("네 명 예약", "네 명 예약"),
        ("가요. 뭐 하니?", "가요. 뭐 하니?"),
        ("", ""),
    ],
)
def test_styles_are_each_others_inverse(plain: str, polite: str) -> None:
    assert to_polite_style(plain) == polite
    assert to_plain_style(polite) == plain
    assert (to_plain_style(plain), to_polite_style(polite)) == (plain, polite)


def test_nothing_is_lost_of_the_references_of_the_corpus() -> None:
    """They are in the style of 한다, and none of them says anything twice."""
    texts = [text for row in list(generate(150, 3, split="test")) for text in row.summaries]
    assert [to_plain_style(drop_repeats(text)) for text in texts] == texts
    assert [to_plain_style(to_polite_style(text)) for text in texts] == texts
