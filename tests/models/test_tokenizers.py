"""Tokenizers give back every text to the last space, and masks are single tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerBase

from yoyak.errors import UserError
from yoyak.models.text import decode
from yoyak.models.tokenizers import load_tokenizer, train_tokenizer
from yoyak.params import Tokenizer

MASKS = ["#Person1#", "#Person2#", "#PhoneNumber#"]
TEXTS = [
    "#Person1#: 안녕하세요, 예약 가능한가요?\n#Person2#: 네, 몇 분이세요?",
    "#Person1#은 #Person2#에게 일곱 시로 예약한다.",
    "전화번호는 #PhoneNumber#입니다. 감사합니다!",
] * 30


@pytest.fixture(scope="module", params=["bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type=request.param, vocab_size=600))


def test_masks_are_single_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    tokens = tokenizer.tokenize("#Person1#은 #PhoneNumber#로 건다")
    assert [token for token in tokens if "#" in token] == ["#Person1#", "#PhoneNumber#"]


text = st.lists(
    st.one_of(
        st.sampled_from([*MASKS, "은", " ", "  ", "에게 ", "\n"]),
        st.text(max_size=6, alphabet=st.characters(codec="utf-8")),
    ),
    max_size=8,
).map("".join)


@given(text=text)
@settings(deadline=None)
def test_every_text_comes_back_exactly(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    if any(token in text for token in tokenizer.all_special_tokens):
        return
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_it_is_the_same_after_saving(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    again = load_tokenizer(tmp_path, MASKS)
    assert len(again) == len(tokenizer)
    assert decode(again, again([TEXTS[1]])["input_ids"]) == [TEXTS[1]]


def test_size_is_what_was_asked(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(tokenizer) <= 600


def test_training_twice_gives_the_same_tokens() -> None:
    one, two = (train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=400)) for _ in range(2))
    assert one.get_vocab() == two.get_vocab()


def test_a_tokenizer_that_puts_a_space_behind_masks_is_set_right(t5_tokenizer: PreTrainedTokenizerBase) -> None:
    ids = t5_tokenizer(["#Person1#은 #Person2#에게 일곱 시로 예약한다."], add_special_tokens=False)["input_ids"]
    assert t5_tokenizer.decode(ids[0]).startswith("#Person1# 은")
    assert decode(t5_tokenizer, ids) == ["#Person1#은 #Person2#에게 일곱 시로 예약한다."]


def test_a_missing_tokenizer_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No tokenizer could be loaded from"):
        load_tokenizer(tmp_path, MASKS)
