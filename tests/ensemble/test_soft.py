"""Soft voting equals what it is short for, and one model twice writes what the model writes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor, PreTrainedTokenizerFast

from random_members import DIALOGUES, MASKS, make, next_logits
from yoyak.data.records import Dialogue
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble import soft
from yoyak.ensemble.compatibility import check_same_tokenizer
from yoyak.ensemble.soft import AverageProcessor, SoftSummarizer
from yoyak.ensemble.soft_weights import fit_weights, maximize_likelihood, reference_probabilities
from yoyak.errors import UserError
from yoyak.models.text import encode_targets
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Generation, Tokenizer

SEARCHES = {
    "greedy": Generation(num_beams=1, num_return_sequences=1, max_new_tokens=12),
    "beams": Generation(num_beams=4, num_return_sequences=4, max_new_tokens=12),
    "lengths": Generation(num_beams=4, num_return_sequences=3, max_new_tokens=14, min_new_tokens=9, length_penalty=2.0),
    "greedy lengths": Generation(num_beams=1, num_return_sequences=1, max_new_tokens=14, min_new_tokens=9),
    "no repetition": Generation(num_beams=4, num_return_sequences=2, max_new_tokens=16, no_repeat_ngram_size=2),
    "greedy no repetition": Generation(num_beams=1, num_return_sequences=1, max_new_tokens=16, no_repeat_ngram_size=1),
    "penalty": Generation(num_beams=3, num_return_sequences=1, max_new_tokens=12, repetition_penalty=1.5),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Models this small wait for threads longer than they compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(DIALOGUES * 20, MASKS, Tokenizer(type="bpe", vocab_size=330))


@pytest.fixture(scope="module")
def members(tokenizer: PreTrainedTokenizerFast) -> dict[str, TorchSummarizer]:
    kinds = [("bart", 1), ("bart", 2), ("t5", 3), ("gpt2", 4), ("gpt2", 5), ("llama", 6)]
    return {f"{kind}{seed}": make(kind, seed, tokenizer) for kind, seed in kinds}


def expected(
    members: Sequence[TorchSummarizer], weights: Sequence[float], dialogue: str, written: Sequence[int]
) -> torch.Tensor:
    parts = [
        next_logits(member, dialogue, written).double().softmax(-1) * weight
        for member, weight in zip(members, weights, strict=True)
    ]
    return torch.stack(parts).sum(0).log()


class Watched(AverageProcessor):
    """Keeps what came in and went out."""

    seen: list[tuple[torch.Tensor, torch.Tensor]]

    def __call__(self, input_ids, scores):
        out = super().__call__(input_ids, scores)
        self.seen.append((input_ids[:, self.start :].clone(), out.clone()))
        return out


@pytest.mark.parametrize("beams", [1, 4])
@pytest.mark.parametrize(
    "names",
    [
        ("bart1", "bart2"),
        ("bart1", "gpt24"),
        ("gpt24", "bart1"),
        ("gpt24", "llama6", "gpt25"),
        ("t53", "bart1", "gpt24"),
    ],
    ids="+".join,
)
def test_each_step_is_the_mean_of_all_members_without_caches(
    members: dict[str, TorchSummarizer], names: tuple[str, ...], beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(soft, "AverageProcessor", Watched)
    monkeypatch.setattr(Watched, "seen", [], raising=False)
    used = [members[name] for name in names]
    weights = [0.5, 0.2, 0.3][: len(used)] if len(used) > 2 else [0.7, 0.3]
    both = SoftSummarizer(used, weights)
    settings = Generation(num_beams=beams, num_return_sequences=1, max_new_tokens=8, batch_size=len(DIALOGUES))
    both.summarize(DIALOGUES, generation=settings)

    inputs = used[0].encode(DIALOGUES).input_ids
    order = sorted(range(len(inputs)), key=lambda row: -len(inputs[row]))
    compared = reordered = 0
    end = used[0].tokenizer.eos_token_id
    for step, (written, scores) in enumerate(Watched.seen):
        for row, index in enumerate(order[row // beams] for row in range(len(written))):
            ids = written[row].tolist()
            if end in ids:
                continue
            torch.testing.assert_close(
                scores[row].double(), expected(used, weights, DIALOGUES[index], ids), atol=1e-5, rtol=1e-5
            )
            compared += 1
            reordered += step > 0 and ids[:-1] != Watched.seen[step - 1][0][row].tolist()
    assert compared >= 15 * beams
    assert reordered > 5 or beams == 1


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("name", ["bart1", "t53", "gpt24", "llama6"])
def test_a_model_ensembled_with_itself_is_unchanged(
    members: dict[str, TorchSummarizer], name: str, search: str
) -> None:
    settings = SEARCHES[search].model_copy(update={"batch_size": 3})
    expected = members[name].summarize(DIALOGUES, generation=settings).candidates
    actual = SoftSummarizer([members[name]] * 2, [0.5, 0.5]).summarize(DIALOGUES, generation=settings).candidates
    assert [[c.text for c in row] for row in actual] == [[c.text for c in row] for row in expected]
    assert [[c.score for c in row] for row in actual] == [
        [pytest.approx(c.score, abs=2e-4) for c in row] for row in expected
    ]


class Recorder(LogitsProcessor):
    """Records the rows of ids as they stand at each step and the likeliest next token of each."""

    def __init__(self) -> None:
        self.prefixes: list[list[int]] = []
        self.tokens: list[int] = []

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        self.prefixes.extend(input_ids.tolist())
        self.tokens.extend(scores.argmax(-1).tolist())
        return scores


def test_options_are_kept_where_members_differ(members: dict[str, TorchSummarizer]) -> None:
    tokenizer = members["bart1"].tokenizer
    recorder = Recorder()
    both = SoftSummarizer([members["bart1"], members["gpt24"]], [0.5, 0.5])
    settings = Generation(
        num_beams=4, num_return_sequences=1, min_new_tokens=6, max_new_tokens=12, no_repeat_ngram_size=2
    )
    both.generate([member.encode(DIALOGUES).input_ids for member in both.members], settings, [recorder])
    texts = [ids[1:] for ids in recorder.prefixes]
    assert max(map(len, texts)) == 11
    for ids in texts:
        assert tokenizer.eos_token_id not in ids[:6]
        pairs = [*pairwise(ids)]
        assert len(set(pairs)) == len(pairs)


def test_forced_tokens_are_those_of_the_searching_model(tokenizer: PreTrainedTokenizerFast) -> None:
    first, second = make("bart", 7, tokenizer, end=0.0), make("bart", 8, tokenizer, end=0.0)
    own = first.model.generation_config
    own.forced_bos_token_id, own.forced_eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
    for beams in (1, 3):
        settings = Generation(num_beams=beams, num_return_sequences=1, max_new_tokens=5)
        twice = SoftSummarizer([first] * 2, [0.5, 0.5]).summarize(DIALOGUES, generation=settings).candidates
        expected = first.summarize(DIALOGUES, generation=settings).candidates
        assert [row[0].text for row in twice] == [row[0].text for row in expected]
        both = SoftSummarizer([first, second], [0.5, 0.5])
        recorder = Recorder()
        both.generate([member.encode(DIALOGUES).input_ids for member in both.members], settings, [recorder])
        written = [[*ids, token] for ids, token in zip(recorder.prefixes, recorder.tokens, strict=True)]
        assert {row[1] for row in written} == {tokenizer.bos_token_id}
        assert {row[5] for row in written if len(row) == 6} == {tokenizer.eos_token_id}


def test_a_zero_weight_leaves_the_other_member(members: dict[str, TorchSummarizer]) -> None:
    settings = SEARCHES["beams"]
    for weights, name in (([1.0, 0.0], "bart1"), ([0.0, 1.0], "gpt24")):
        ensemble = SoftSummarizer([members["bart1"], members["gpt24"]], weights)
        assert ensemble.members == [members[name]]
        assert ensemble.summarize(DIALOGUES, generation=settings) == members[name].summarize(
            DIALOGUES, generation=settings
        )


def test_a_heavy_weight_comes_near_to_one_member(members: dict[str, TorchSummarizer]) -> None:
    settings = SEARCHES["beams"]
    ensemble = SoftSummarizer([members["bart1"], members["gpt24"]], [1 - 1e-9, 1e-9])
    expected = members["bart1"].summarize(DIALOGUES, generation=settings).candidates
    assert [row[0].text for row in ensemble.summarize(DIALOGUES, generation=settings).candidates] == [
        row[0].text for row in expected
    ]
    equal = SoftSummarizer([members["bart1"], members["gpt24"]], [0.5, 0.5])
    assert [row[0].text for row in equal.summarize(DIALOGUES, generation=settings).candidates] != [
        row[0].text for row in expected
    ]


@pytest.mark.parametrize("search", ["greedy", "beams", "lengths"])
@pytest.mark.parametrize("names", [("bart1", "gpt24", "t53"), ("gpt24", "bart2")], ids="+".join)
def test_a_batch_writes_what_single_dialogues_do(
    members: dict[str, TorchSummarizer], names: tuple[str, ...], search: str
) -> None:
    both = SoftSummarizer([members[name] for name in names], [1 / len(names)] * len(names))
    settings = SEARCHES[search]
    batch = both.summarize(DIALOGUES, generation=settings).candidates
    single = [both.summarize([dialogue], generation=settings).candidates[0] for dialogue in DIALOGUES]
    assert [[c.text for c in row] for row in batch] == [[c.text for c in row] for row in single]


def test_the_mean_of_probabilities_by_hand() -> None:
    first, second = torch.tensor([[0.5, 0.25, 0.25]]).log(), torch.tensor([[0.0, 1.0]]).log()
    mean = soft.log_mean([torch.tensor([[0.5, 0.5]]).log() + 3, second], [0.75, 0.25]).exp()
    assert mean.tolist() == [[pytest.approx(0.375), pytest.approx(0.625)]]
    # The third token is one that the second member does not have.
    wide = soft.log_mean([first, second], [0.5, 0.5]).exp()
    assert wide.tolist() == [[pytest.approx(1 / 3), pytest.approx(2 / 3), 0.0]]


def test_beams_are_continued_within_their_dialogue() -> None:
    before = torch.tensor([[5, 6], [5, 7], [5, 6], [5, 8]])
    now = torch.tensor([[5, 7, 1], [5, 7, 2], [5, 8, 1], [5, 6, 3]])
    assert soft.find_parents(before, now, beams=2).tolist() == [1, 1, 3, 2]
    with pytest.raises(RuntimeError):
        soft.find_parents(before, torch.tensor([[5, 8, 1], [5, 7, 2], [5, 8, 1], [5, 6, 3]]), beams=2)


def test_truncated_dialogues_are_counted(members: dict[str, TorchSummarizer]) -> None:
    both = SoftSummarizer([members["gpt24"], members["bart1"]], [0.5, 0.5])
    summaries = both.summarize(["#Person1#: 네. " * 30, "네"], generation=SEARCHES["greedy"])
    assert (summaries.truncated, summaries.cut) == (1, [True, False])


def test_different_tokenizers_are_an_error(members: dict[str, TorchSummarizer]) -> None:
    tokenizer = train_tokenizer(DIALOGUES * 20, MASKS, Tokenizer(type="unigram", vocab_size=360))
    check_same_tokenizer({"a": members["bart1"], "b": members["gpt24"]}, "ensemble.models.soft")
    with pytest.raises(UserError, match="b and t5 have different tokenizers"):
        check_same_tokenizer(
            {"a": members["bart1"], "b": members["gpt24"], "t5": make("t5", 1, tokenizer)}, "ensemble.models.soft"
        )


def test_probabilities_of_references_are_the_models(members: dict[str, TorchSummarizer]) -> None:
    texts = ["#Person1#은 예약한다.", "네.", "#Person2#는 모레 만나자고 한다. 감사합니다!"]
    rows = [Dialogue(fname=str(i), dialogue=DIALOGUES[i], summaries=(text,)) for i, text in enumerate(texts)]
    used = {name: members[name] for name in ("bart1", "gpt24", "t53", "llama6")}
    actual = reference_probabilities(used, rows)
    for row, values in zip(rows, actual, strict=True):
        target = encode_targets(used["bart1"].tokenizer, [row.summaries[0]], 16)[0]
        assert values.shape == (4, len(target))
        for member, got in zip(used.values(), values, strict=True):
            for index, token in enumerate(target):
                expected = next_logits(member, row.dialogue, target[:index]).log_softmax(-1)[token].item()
                assert math.log(got[index]) == pytest.approx(expected, abs=1e-4)


def test_fitted_weights_are_the_most_likely() -> None:
    chance = np.random.default_rng(1)
    rows = [chance.uniform(0.01, 1, (2, 20)) for _ in range(10)]
    fitted = maximize_likelihood(rows)
    tokens = np.concatenate(rows, axis=1)
    grid = np.linspace(0, 1, 2001)
    likelihoods = [np.log(weight * tokens[0] + (1 - weight) * tokens[1]).sum() for weight in grid]
    assert sum(fitted) == pytest.approx(1)
    assert fitted[0] == pytest.approx(grid[int(np.argmax(likelihoods))], abs=1e-3)
    assert maximize_likelihood([np.array([[0.9, 0.8], [0.1, 0.2]])])[0] > 0.99


def test_folds_are_fitted_to_the_other_rows(members: dict[str, TorchSummarizer]) -> None:
    rows = [
        Dialogue(fname=str(i), dialogue=text, summaries=("네, 모레가 좋아요.",)) for i, text in enumerate(DIALOGUES)
    ]
    used = {name: members[name] for name in ("bart1", "gpt24")}
    on_all_rows, parts = fit_weights(used, rows)
    assert sorted(index for indices, _ in parts for index in indices) == list(range(5))
    probabilities = reference_probabilities(used, rows)
    assert list(on_all_rows.values()) == maximize_likelihood(probabilities)
    for indices, weights in parts:
        remaining = [values for index, values in enumerate(probabilities) if index not in indices]
        assert list(weights.values()) == maximize_likelihood(remaining)
        assert weights != on_all_rows


def test_search_settings_are_those_of_params(
    members: dict[str, TorchSummarizer], tokenizer: PreTrainedTokenizerFast
) -> None:
    """A checkpoint such as bart-base brings num_beams=4 and no_repeat_ngram_size=3 along: params.yaml decides."""
    model = make("bart", 1, tokenizer)
    before = model.summarize(DIALOGUES, generation=SEARCHES["greedy"]).candidates
    model.model.generation_config.num_beams = 4
    model.model.generation_config.no_repeat_ngram_size = 1
    assert model.summarize(DIALOGUES, generation=SEARCHES["greedy"]).candidates == before
