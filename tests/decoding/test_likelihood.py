"""The likelihood of texts that a model did not write is that of their tokens one by one, however they are batched."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from random_members import DIALOGUES, MASKS, make, next_logits
from yoyak.decoding import likelihood, likelihood_store
from yoyak.decoding.deadline import AbandonedError, ends_when
from yoyak.decoding.likelihood import per_character
from yoyak.decoding.likelihood_store import find_or_score
from yoyak.decoding.torch import TorchSummarizer
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer

TEXTS = [
    ["네 명이 일곱 시에 예약한다.", "예약한다.", ""],
    ["네."],
    [],
    ["모레 만난다.", "내일 만난다."],
    ["#Person1#은 간다."],
]
KINDS = ["bart", "t5", "gpt2", "llama"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(DIALOGUES * 20, MASKS, Tokenizer(type="bpe", vocab_size=330))


def token_by_token(member: TorchSummarizer, dialogue: str, text: str) -> float:
    ids = [*member.tokenizer(text, add_special_tokens=False)["input_ids"], member.tokenizer.eos_token_id]
    steps = [next_logits(member, dialogue, ids[:step]).log_softmax(-1)[token] for step, token in enumerate(ids)]
    return float(sum(steps))


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_that_of_the_tokens_and_the_end(kind: str, tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    member = make(kind, 1, tokenizer)
    scores = member.log_likelihoods(DIALOGUES, TEXTS)
    assert [len(row) for row in scores] == [3, 1, 0, 2, 1]
    for dialogue, texts, values in zip(DIALOGUES, TEXTS, scores, strict=True):
        assert values == pytest.approx([token_by_token(member, dialogue, text) for text in texts], rel=1e-4)
    monkeypatch.setattr(likelihood, "CELLS", 1)
    one_by_one = member.log_likelihoods(DIALOGUES, TEXTS)
    for row, other in zip(scores, one_by_one, strict=True):
        assert other == pytest.approx(row, rel=1e-4)
    assert member.log_likelihoods([], []) == []


def test_a_text_beyond_the_window_is_scored_as_far_as_it_fits(tokenizer) -> None:
    member = make("gpt2", 1, tokenizer)
    long = "네 명이 일곱 시에 " * 60
    limit = member.new_token_limit
    assert limit is not None
    ids = tokenizer(long, add_special_tokens=False)["input_ids"]
    assert len(ids) > limit
    [[score]] = member.log_likelihoods(DIALOGUES[:1], [[long]])
    steps = (next_logits(member, DIALOGUES[0], ids[:step]).log_softmax(-1)[ids[step]] for step in range(limit))
    assert score == pytest.approx(float(sum(steps)) * (len(ids) + 1) / limit, rel=1e-3)


def test_a_batch_that_does_not_fit_is_halved(tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    member = make("bart", 1, tokenizer)
    expected = member.log_likelihoods(DIALOGUES, TEXTS)
    sizes: list[int] = []
    score = member._score

    def limited(inputs, batch):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise MemoryError
        return score(inputs, batch)

    monkeypatch.setattr(member, "_score", limited)
    for row, values in zip(expected, member.log_likelihoods(DIALOGUES, TEXTS), strict=True):
        assert values == pytest.approx(row, rel=1e-4)
    assert max(sizes) == 7
    assert sizes[-1] <= 2


def test_it_ends_when_nobody_waits_any_more(tokenizer) -> None:
    member = make("bart", 1, tokenizer)
    with ends_when(lambda: True), pytest.raises(AbandonedError):
        member.log_likelihoods(DIALOGUES, TEXTS)


def test_characters_are_counted_with_the_end() -> None:
    assert per_character(-6.0, "가나다라마") == -1.0
    assert per_character(-6.0, "") == -6.0


def test_only_new_texts_are_computed(tokenizer, project) -> None:
    member = make("bart", 1, tokenizer)
    loaded: list[int] = []

    def load() -> TorchSummarizer:
        loaded.append(1)
        return member

    first, computed = find_or_score(load, "digest", DIALOGUES, TEXTS)
    assert (computed, len(loaded)) == (7, 1)
    assert find_or_score(load, "digest", DIALOGUES, TEXTS) == (first, 0)
    assert len(loaded) == 1
    more = [[*TEXTS[0], "다른 요약이다."], *TEXTS[1:]]
    second, computed = find_or_score(load, "digest", DIALOGUES, more)
    assert computed == 1
    assert [second[0][:3], *second[1:]] == first
    assert find_or_score(load, "another model", DIALOGUES, TEXTS)[1] == 7


def test_an_interruption_loses_little(tokenizer, project, monkeypatch: pytest.MonkeyPatch) -> None:
    member = make("bart", 1, tokenizer)
    monkeypatch.setattr(likelihood_store, "CHUNK", 1)
    score, left = member._score, [2]

    def interrupted(inputs, batch):
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return score(inputs, batch)

    monkeypatch.setattr(member, "_score", interrupted)
    with pytest.raises(KeyboardInterrupt):
        find_or_score(lambda: member, "digest", DIALOGUES, TEXTS)
    left[0] = 9
    scores, computed = find_or_score(lambda: member, "digest", DIALOGUES, TEXTS)
    assert computed < 7
    for row, expected in zip(scores, member.log_likelihoods(DIALOGUES, TEXTS), strict=True):
        assert row == pytest.approx(expected, rel=1e-4)
