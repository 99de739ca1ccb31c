"""Units: joined again they are the text; a particle that moves takes the form that fits its new position."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from yoyak.ensemble.units import Unit, join, split

GRANULARITIES = ["morpheme", "eojeol", "syllable", "english"]
PIECES = (
    *("#Person1#은", "#Person2#와", "#PhoneNumber#", "#", "회의를", "했다", "예약", "서울로", "3시 30분", "80만 원"),
    *("Anna's", "don’t", "e-mail", "😀", "👨\u200d👩\u200d👧", "🇰🇷", "e\u0301", "\u0301", "\u1112\u1161\u11ab", "ㅋㅋ"),
    *("가\u11a8", "ㄱㅏ", " ", "  ", "\n", "\t", "\u3000", "\u00a0", "\u200b", ".", "…", "?!", "(", ")", '"', "~", "—"),
    *("は", "漢字", "\u2126", "ﬁ", "\x1f", "\x85", "\ufeff", "은", "는", "으로", "_", "\\n", "𐐀", "\u0fb2\u0f71"),
)
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
)


def normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip()


@pytest.mark.parametrize("granularity", GRANULARITIES)
@given(texts)
@settings(max_examples=300)
@example("")
@example(" \n\t")
@example("...!?")
@example("가 \u2800")
@example("#Person1#은 #Person2#에게 회의실을 예약해 달라고 했다.")
@example("안녕\n\n하세요\t😀  네")
def test_joined_units_restore_the_text(granularity: str, text: str) -> None:
    units = split([text], granularity)[0]
    assert join(units) == normal(text)
    assert bool(units) == bool(normal(text))
    assert [unit.before for unit in units] == ["", *(unit.key for unit in units)][: len(units)]


@pytest.mark.parametrize("granularity", GRANULARITIES)
@given(st.lists(texts, max_size=4))
@settings(max_examples=50)
def test_texts_are_split_one_by_one(granularity: str, batch: list[str]) -> None:
    assert split(batch, granularity) == [split([text], granularity)[0] for text in batch]


def keys(text: str, granularity: str) -> list[str]:
    return [unit.key for unit in split([text], granularity)[0]]


def test_units_of_each_granularity() -> None:
    text = "#Person1#은 회의실을 예약했다."
    assert keys(text, "eojeol") == ["#Person1#은", "회의실을", "예약했다."]
    assert keys(text, "syllable") == ["#Person1#", "은", *"회의실을예약했다."]
    assert keys(text, "morpheme") == ["#Person1#", "은/JX", "회의실", "을/JKO", "예약했다", "."]
    assert keys("Anna's dog didn’t BARK.", "english") == ["anna's", "dog", "didn’t", "bark", "."]


def test_a_particle_is_the_same_unit_in_both_shapes() -> None:
    for after_consonant, after_vowel in [
        ("책은", "차는"),
        ("책이", "차가"),
        ("책을", "차를"),
        ("책과 차", "차와 책"),
        ("집으로", "차로"),
    ]:
        assert keys(f"{after_consonant} 좋다.", "morpheme")[1] == keys(f"{after_vowel} 좋다.", "morpheme")[1]


def noun(text: str) -> Unit:
    return Unit(text, text)


@pytest.mark.parametrize(
    ("before", "shapes"),
    [
        ("차", "는 가 를 와 로"),
        ("책", "은 이 을 과 으로"),
        ("서울", "은 이 을 과 로"),
        ("3", "은 이 을 과 으로"),
        ("2", "는 가 를 와 로"),
        ("7", "은 이 을 과 로"),
        ("10", "은 이 을 과 으로"),
        ("#Person1#", "은 이 을 과 으로"),
        ("#Person2#", "는 가 를 와 로"),
        ("#PhoneNumber#", "는 가 를 와 로"),
        ("#Email#", "은 이 을 과 로"),
    ],
)
def test_a_moved_particle_takes_the_form_that_fits(before: str, shapes: str) -> None:
    for shape, form in zip(["은", "이", "을", "과", "으로"], shapes.split(), strict=True):
        for own in ("밥", "나무"):
            moved = Unit(f"{shape}/J", "?", own, True, shape)
            assert join([noun(before), moved]) == before + form


@pytest.mark.parametrize("text", ["#Person1#과 #Person2#는 친구로 지낸다.", "나무와 숲을 사람이 집으로 본다."])
def test_an_unmoved_particle_keeps_its_form(text: str) -> None:
    assert join(split([text], "morpheme")[0]) == text


def test_particles_of_real_texts_are_adapted() -> None:
    first, second = split(["지훈은 학교로 간다.", "민수는 병원으로 간다."], "morpheme")
    assert join([second[0], *first[1:]]) == "민수는 학교로 간다."
    assert join([first[0], *second[1:]]) == "지훈은 병원으로 간다."
    assert join([*first[:2], second[2], *first[3:]]) == "지훈은 병원으로 간다."


def test_a_particle_without_a_host_word_is_left_out() -> None:
    first, second = split(["지훈은 집에서 쉰다.", "쉰다."], "morpheme")
    assert join(first[1:]) == "집에서 쉰다."
    assert join([first[0], first[1], first[3]]) == "지훈은"
    verb = second[0]
    assert not verb.nominal
    assert join([verb, first[1]]) == "쉰다"


def test_a_particle_with_a_single_form_is_unchanged() -> None:
    first, second = split(["지훈에게 책을 준다.", "민수의 책이다."], "morpheme")
    assert join([second[0], *first[1:]]) == "민수에게 책을 준다."


def test_the_first_unit_of_a_text_begins_a_word() -> None:
    first, second = split(["회의가 있다.", "내일 만난다."], "eojeol")
    assert join([*first, *second]) == "회의가 있다. 내일 만난다."
    assert join([*first[1:], *second[1:]]) == "있다. 만난다."
