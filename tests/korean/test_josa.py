"""Particles follow the final consonant as it is read aloud."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.korean.josa import Word, final_consonant, particle

HANGUL = st.integers(ord("가"), ord("힣")).map(chr)


@pytest.mark.parametrize(
    ("word", "form", "expected"),
    [
        ("사과", "은", "는"),
        ("수박", "은", "은"),
        ("사과", "이", "가"),
        ("수박", "이", "이"),
        ("사과", "을", "를"),
        ("수박", "과", "과"),
        ("사과", "과", "와"),
        ("서울", "으로", "로"),
        ("부산", "으로", "으로"),
        ("제주", "으로", "로"),
        ("사과", "이에요", "예요"),
        ("수박", "이에요", "이에요"),
        ("민수", "아", "야"),
        ("지훈", "아", "아"),
        ("사과", "이라고", "라고"),
        ("수박", "이라고", "이라고"),
        ("서연", "이는", "이는"),
        ("민수", "이는", "는"),
        ("사과", "이었", "였"),
        ("'도시의 밤'", "을", "을"),
        ("'겨울 바다'", "을", "를"),
    ],
)
def test_words(word: str, form: str, expected: str) -> None:
    assert particle(word, form) == expected


@pytest.mark.parametrize(
    ("word", "form", "expected"),
    [
        ("#Person1#", "은", "은"),
        ("#Person1#", "이", "이"),
        ("#Person1#", "과", "과"),
        ("#Person1#", "으로", "으로"),
        ("#Person2#", "은", "는"),
        ("#Person2#", "과", "와"),
        ("#Person3#", "을", "를"),
        ("#Person7#", "은", "은"),
        ("#Person8#", "으로", "으로"),
        ("#PhoneNumber#", "으로", "로"),
        ("#Address#", "을", "를"),
        ("#Email#", "은", "은"),
        ("#Email#", "으로", "로"),
        ("#DateOfBirth#", "이에요", "예요"),
    ],
)
def test_masks_are_read_in_english(word: str, form: str, expected: str) -> None:
    assert particle(word, form) == expected


@pytest.mark.parametrize(
    ("word", "form", "expected"),
    [
        ("3", "은", "은"),
        ("2", "은", "는"),
        ("7", "으로", "로"),
        ("6", "으로", "으로"),
        ("10", "을", "을"),
        ("100", "으로", "으로"),
        ("1,000", "이", "이"),
        ("10000", "은", "은"),
        ("30%", "을", "를"),
        ("5kg", "을", "을"),
        ("5km", "을", "를"),
        ("SNS", "을", "를"),
        ("URL", "으로", "로"),
    ],
)
def test_digits_and_letters_are_read_in_korean(word: str, form: str, expected: str) -> None:
    assert particle(word, form) == expected


@given(st.text(HANGUL, min_size=1))
def test_every_syllable_agrees_with_its_decomposition(word: str) -> None:
    parts = unicodedata.normalize("NFD", word[-1])
    closed = len(parts) == 3
    assert bool(final_consonant(word)) == closed
    assert particle(word, "은") == ("은" if closed else "는")
    assert particle(word, "으로") == ("으로" if closed and parts[-1] != "ᆯ" else "로")


def test_a_word_takes_its_particle_in_a_format_string() -> None:
    assert f"{Word('#Person1#'):은} {Word('책'):을} {Word('학교'):으로}" == "#Person1#은 책을 학교로"
    assert f"{Word('책')}" == "책"


def test_an_unknown_particle_is_refused() -> None:
    with pytest.raises(ValueError, match="까지"):
        particle("사과", "까지")
