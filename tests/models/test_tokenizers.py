"""Tokenizers give back every text to the last space, and masks are single tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, decoders, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from yoyak.errors import UserError
from yoyak.models.text import decode
from yoyak.models.tokenizers import add_masks, load_tokenizer, train_tokenizer
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
def test_every_text_comes_back_exactly(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    if any(token in text for token in tokenizer.all_special_tokens):
        return
    assert tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) == text


def test_it_is_the_same_after_saving(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path, MASKS)
    assert len(loaded) == len(tokenizer)
    assert decode(loaded, loaded([TEXTS[1]])["input_ids"]) == [TEXTS[1]]


def test_the_vocabulary_has_the_requested_size(tokenizer: PreTrainedTokenizerBase) -> None:
    assert len(tokenizer) <= 600


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_training_twice_gives_the_same_file(kind: Literal["bpe", "unigram"], tmp_path: Path) -> None:
    for name in ("one", "two"):
        train_tokenizer(TEXTS, MASKS, Tokenizer(type=kind, vocab_size=400)).save_pretrained(tmp_path / name)
    first, second = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "two"))
    assert first == second


def with_spaces_of(style: str) -> PreTrainedTokenizerFast:
    """A tokenizer that marks spaces as the checkpoints of a kind do, on our own vocabulary."""
    tokenizer = train_tokenizer(TEXTS, [], Tokenizer(type="unigram", vocab_size=600))
    backend = tokenizer.backend_tokenizer
    always = pre_tokenizers.Metaspace(prepend_scheme="always")
    decoder = decoders.Metaspace(prepend_scheme="always")
    if style == "t5":
        backend.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), always])
    elif style == "spm":
        stripped = [normalizers.Strip(left=False, right=True), normalizers.Replace(Regex(" {2,}"), "▁")]
        backend.normalizer, backend.pre_tokenizer = normalizers.Sequence(stripped), always
    elif style == "kobart":
        backend.normalizer, backend.pre_tokenizer = normalizers.NFKC(), always
    else:
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        backend.pre_tokenizer = None
        decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    backend.decoder = decoder
    return tokenizer


@pytest.mark.parametrize("style", ["t5", "spm", "kobart", "llama"])
@pytest.mark.parametrize(
    "summary",
    [
        "#Person1#은 #Person2#에게 일곱 시로 예약한다.",
        "시로 #Person2#이세요 #Person1#능에게 가능한가요.",
        "일곱 시로 예약한다, #PhoneNumber#",
        "#Person2# #Person1#: 네, #Person2#.",
    ],
    ids=["particles", "words", "end", "neighbours"],
)
def test_other_peoples_tokenizers_keep_the_spaces_beside_masks(style: str, summary: str, tmp_path: Path) -> None:
    tokenizer = with_spaces_of(style)
    plain = tokenizer("일곱 시로 예약한다.")["input_ids"]
    add_masks(tokenizer, MASKS)
    assert tokenizer("일곱 시로 예약한다.")["input_ids"] == plain
    tokenizer.save_pretrained(tmp_path)
    for loaded in (tokenizer, load_tokenizer(tmp_path, MASKS)):
        assert decode(loaded, loaded([summary], add_special_tokens=False)["input_ids"]) == [summary]


def test_a_missing_tokenizer_gives_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tokenizer"):
        load_tokenizer(tmp_path, MASKS)
    with pytest.raises(UserError, match="nowhere is missing"):
        load_tokenizer(tmp_path / "nowhere", MASKS)


def test_bytes_that_are_not_a_character_are_not_text() -> None:
    tokenizer = train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))
    # The first byte of every Hangul syllable from 가 to 꿿, as byte-level BPE writes it.
    byte = tokenizer.get_vocab()["ê"]
    words = tokenizer(" 네", add_special_tokens=False)["input_ids"]
    assert byte != tokenizer.unk_token_id
    assert decode(tokenizer, [[byte, *words, byte, *words, byte]]) == ["네 네"]
