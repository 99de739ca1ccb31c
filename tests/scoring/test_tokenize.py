"""Tokens: masks stay whole, particles are particles, English is rouge_score's."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import tokenizers

from yoyak.errors import UserError
from yoyak.scoring.tokenize import LineTokenizer, tokenizer

KOREAN = ["eojeol", "morpheme", "syllable"]
MASKED = "#Person1#은 #Person2#에게 #PhoneNumber#로 전화했다."


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("#Person1#은", ["#Person1#", "은"]),
        ("#Person1#이 간다.", ["#Person1#", "이", "가", "ᆫ다"]),
        ("#Person2#가 간다", ["#Person2#", "가", "가", "ᆫ다"]),
        ("#Person1#과 #Person2#는", ["#Person1#", "과", "#Person2#", "는"]),
        ("#Person1##Person2#도", ["#Person1#", "#Person2#", "도"]),
        ("집은 #Address#이다", ["집", "은", "#Address#", "이", "다"]),
        ("", []),
        ("?!", []),
    ],
)
def test_morphemes_keep_masks_whole_and_particles_apart(text: str, tokens: list[str]) -> None:
    assert tokenizer("morpheme").tokenize(text) == tokens


def test_eojeol_keeps_inner_punctuation_and_drops_it_at_the_edges() -> None:
    text = "'#Person1#은, #Person2#' 3.5km를  뛰었다... (#DateOfBirth#) -"
    expected = ["#Person1#은", "#Person2#", "3.5km를", "뛰었다", "#DateOfBirth#"]
    assert tokenizer("eojeol").tokenize(text) == expected


def test_syllables_keep_masks_ascii_words_and_numbers_whole() -> None:
    tokens = tokenizer("syllable").tokenize("#Person1#은 KTX123 3시, ㅋ")
    assert tokens == ["#Person1#", "은", "KTX", "123", "3", "시", "ㅋ"]


def test_a_space_after_a_mask_makes_another_eojeol() -> None:
    assert tokenizer("eojeol").tokenize("#Person1# 은") != tokenizer("eojeol").tokenize("#Person1#은")


@pytest.mark.parametrize("granularity", KOREAN)
def test_decomposed_hangul_gives_the_same_tokens(granularity: str) -> None:
    decomposed = unicodedata.normalize("NFD", MASKED)
    assert decomposed != MASKED
    assert tokenizer(granularity).tokenize(decomposed) == tokenizer(granularity).tokenize(MASKED)


@pytest.mark.parametrize("granularity", KOREAN)
def test_every_mask_is_one_token_in_its_place(granularity: str) -> None:
    tokens = tokenizer(granularity).tokenize(MASKED)
    masks = [token for token in tokens if "#" in token]
    assert [mask[: mask.rindex("#") + 1] for mask in masks] == ["#Person1#", "#Person2#", "#PhoneNumber#"]


@given(st.text(max_size=60))
def test_english_uses_rouge_scores_default_tokenizer(text: str) -> None:
    assert tokenizer("english").tokenize(text) == tokenizers.DefaultTokenizer(use_stemmer=True).tokenize(text)


def test_english_stems() -> None:
    assert tokenizer("english").tokenize("The meetings were running LATE.") == ["the", "meet", "were", "run", "late"]


@pytest.mark.parametrize("granularity", [*KOREAN, "english"])
@given(lines=st.lists(st.text(alphabet="가나은 a1.#\n", max_size=12), max_size=4))
def test_tokens_of_joined_lines_are_the_lines_tokens(granularity: str, lines: list[str]) -> None:
    units = tokenizer(granularity)
    assert units.tokenize("\n".join(lines)) == [token for line in units.tokenize_all(lines) for token in line]


def test_a_full_cache_is_cleared_and_the_tokens_stay_the_same() -> None:
    analysed: list[str] = []

    def split(lines):
        analysed.extend(lines)
        return [line.split() for line in lines]

    small = LineTokenizer("small", split, cache_lines=3)
    for texts in (["가 나", "다"], ["라", "마 바", "가 나"], ["다"]):
        assert small.tokenize_all(texts) == [text.split() for text in texts]
    # The second call found no room for two more lines, so that the first one's were analysed again.
    assert analysed == ["가 나", "다", "라", "마 바", "가 나", "다"]


def test_each_line_is_analysed_once() -> None:
    seen: list[str] = []

    def split(lines):
        seen.extend(lines)
        return [line.split() for line in lines]

    units = LineTokenizer("counted", split)
    units.tokenize_all(["가 나", "다", "가 나"])
    assert units.tokenize_all(["다", "라"]) == [["다"], ["라"]]
    assert seen == ["가 나", "다", "라"]


def test_an_unknown_granularity_names_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'morphem'.*'morpheme'"):
        tokenizer("morphem")
