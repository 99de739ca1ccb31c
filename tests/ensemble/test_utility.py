"""Utilities of all pairs at once: those of rouge_score and of sacrebleu, pair by pair."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from sacrebleu.metrics import CHRF

from yoyak.ensemble import utility
from yoyak.ensemble.utility import chrf_matrix, overlaps, rouge_matrix
from yoyak.scoring.tokenize import tokenizer

TYPES = ("rouge1", "rouge2", "rougeL")
TEXTS = [
    "#Person1#은 #Person2#에게 내일 회의실을 예약해 달라고 부탁했다.",
    "#Person1#과 #Person2#는 내일 회의를 한다.",
    "#Person2#는 회의실을 예약한다. #Person2#는 회의실을 예약한다.",
    "Anna meets Tom at 3:30.",
    "네",
    "...",
    "",
    "#Person1#과 #Person2#는 내일 회의를 한다.",
]
letters = st.text(st.sampled_from("가나다ab .\n\t😀"), max_size=12)
SLOW = settings(max_examples=60)


@pytest.mark.parametrize("weights", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.33, 0.33, 0.34)])
@pytest.mark.parametrize("granularity", ["morpheme", "eojeol", "syllable", "english"])
def test_rouge_equals_rouge_score_to_the_last_digit(granularity: str, weights: tuple[float, ...]) -> None:
    units = tokenizer(granularity)
    scorer = rouge_scorer.RougeScorer(list(TYPES), tokenizer=units)
    matrix = rouge_matrix(units.tokenize_all(TEXTS), weights)
    for row, prediction in enumerate(TEXTS):
        for column, reference in enumerate(TEXTS):
            scores = scorer.score(reference, prediction)
            expected = sum(weight * scores[kind].fmeasure for weight, kind in zip(weights, TYPES, strict=True))
            assert matrix[row, column] == expected, (prediction, reference)


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=5))
@SLOW
def test_rouge_of_any_tokens(tokens: list[list[str]]) -> None:
    class Spaces:
        def tokenize(self, text: str) -> list[str]:
            return text.split()

    scorer = rouge_scorer.RougeScorer(list(TYPES), tokenizer=Spaces())
    matrix = rouge_matrix(tokens, (0.2, 0.3, 0.5))
    assert matrix.shape == (len(tokens), len(tokens))
    np.testing.assert_array_equal(matrix, matrix.T)
    for row, prediction in enumerate(tokens):
        for column, reference in enumerate(tokens):
            scores = scorer.score(" ".join(reference), " ".join(prediction))
            expected = sum(weight * scores[kind].fmeasure for weight, kind in zip((0.2, 0.3, 0.5), TYPES, strict=True))
            assert matrix[row, column] == expected


def chrf_of(hypothesis: str, reference: str) -> float:
    return float(CHRF().sentence_score(hypothesis, [reference]).score) / 100


@given(st.lists(letters, max_size=5))
@example([*TEXTS, "가", "가나", "가나다라마바사", " "])
@SLOW
def test_chrf_equals_sacrebleu(texts: list[str]) -> None:
    matrix = chrf_matrix(texts)
    expected = [[chrf_of(row, column) for column in texts] for row in texts]
    np.testing.assert_allclose(matrix, np.reshape(expected, matrix.shape), rtol=0, atol=1e-12)


def test_chrf_tells_the_hypothesis_from_the_reference() -> None:
    short, long = "내일 회의", "내일 회의를 하고 나서 밥을 먹는다"
    matrix = chrf_matrix([short, long])
    assert matrix[0, 1] < matrix[1, 0]
    assert matrix[0, 0] == pytest.approx(1, abs=1e-12)


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=8).map(Counter), max_size=6), st.integers(1, 12))
def test_overlaps_are_clipped_counts_in_blocks_of_any_size(counts: list[Counter], cells: int) -> None:
    expected = [[(left & right).total() for right in counts] for left in counts]
    unblocked = overlaps(counts)
    np.testing.assert_array_equal(unblocked, np.reshape(expected, unblocked.shape))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(utility, "CELLS", cells)
        np.testing.assert_array_equal(overlaps(counts), unblocked)


def test_small_blocks_give_the_same_matrices(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = tokenizer("morpheme").tokenize_all(TEXTS)
    unblocked = rouge_matrix(tokens, (0.33, 0.33, 0.34)), chrf_matrix(TEXTS)
    monkeypatch.setattr(utility, "CELLS", 50)
    np.testing.assert_array_equal(rouge_matrix(tokens, (0.33, 0.33, 0.34)), unblocked[0])
    np.testing.assert_array_equal(chrf_matrix(TEXTS), unblocked[1])
