"""Weights: they sum to one, faults in given ones are sentences, fitted ones find who is good."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.ensemble.weights import DRAWS, by_score, equal, fitted, normalised
from yoyak.errors import UserError

numbers = st.dictionaries(st.sampled_from("abcde"), st.floats(0, 1e6, allow_subnormal=False), min_size=1)


@given(numbers.filter(lambda weights: any(value > 1e-6 for value in weights.values())))
def test_given_weights_keep_their_ratios_and_sum_to_one(given_weights: dict[str, float]) -> None:
    members = sorted(given_weights, reverse=True)
    weights = normalised(given_weights, members)
    assert list(weights) == members
    assert sum(weights.values()) == pytest.approx(1)
    total = sum(given_weights.values())
    assert weights == pytest.approx({member: given_weights[member] / total for member in members})


def test_weights_of_two_and_six_become_a_quarter_and_three_quarters() -> None:
    assert normalised({"a": 2, "b": 6, "c": 0}, ["c", "b", "a"]) == {"c": 0, "b": 0.75, "a": 0.25}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"a": 1, "b": 1, "bart": 1}, "'bart'"),
        ({"a": 1}, "'b'"),
        ({}, "'a'"),
        ({"a": 1, "b": -0.1}, "at least 0"),
        ({"a": 1, "b": math.nan}, "at least 0"),
        ({"a": 1, "b": math.inf}, "at least 0"),
        ({"a": 0, "b": 0}, "above 0"),
    ],
)
def test_invalid_weights_are_errors(weights: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        normalised(weights, ["a", "b"])


def test_an_unknown_member_comes_with_a_suggestion() -> None:
    with pytest.raises(UserError, match="did you mean 'bart'"):
        normalised({"brat": 1, "t5": 1}, ["bart", "t5"])


def test_equal_and_by_score() -> None:
    assert equal("abcd") == dict.fromkeys("abcd", 0.25)
    assert by_score({"a": 0.1, "b": 0.3}) == pytest.approx({"a": 0.25, "b": 0.75})
    assert by_score({"a": 0.0, "b": 0.0}) == {"a": 0.5, "b": 0.5}


def test_fitted_weights_find_the_one_good_member_among_noise() -> None:
    draw = np.random.default_rng(1)
    truth = draw.normal(size=200)
    answers = {"noise1": draw.normal(size=200), "good": truth + 0.05 * draw.normal(size=200), "noise2": -truth}

    def measure(weights) -> float:
        return -float(np.abs(sum(weights[member] * answers[member] for member in answers) - truth).mean())

    best = fitted({"noise1": 0.3, "good": 0.3, "noise2": 0.4}, measure, seed=20)
    assert max(best, key=lambda member: best[member]) == "good"
    assert best["good"] > 0.9
    assert sum(best.values()) == pytest.approx(1)


def test_fitted_weights_mix_where_a_mix_is_best() -> None:
    def measure(weights) -> float:
        return -abs(weights["a"] - 0.7) - abs(weights["b"] - 0.3)

    best = fitted({"a": 0.5, "b": 0.5}, measure, seed=20)
    assert best["a"] == pytest.approx(0.7, abs=0.05)


def test_ties_go_to_the_most_ordinary_weights() -> None:
    scores = {"a": 0.1, "b": 0.3}
    assert fitted(scores, lambda weights: 1.0, seed=20) == equal("ab")
    # A gain in the last bit is none.
    assert fitted(scores, lambda weights: 1.0 + 1e-12 * weights["b"], seed=20) == equal("ab")
    assert fitted(scores, lambda weights: -abs(weights["b"] - 0.75), seed=20) == pytest.approx(by_score(scores))


def test_fitting_is_seeded_and_tries_every_member() -> None:
    tried: list[dict[str, float]] = []

    def measure(weights) -> float:
        tried.append(dict(weights))
        return -((weights["a"] - 0.123) ** 2)

    first = fitted({"a": 0.2, "b": 0.1}, measure, seed=20)
    assert len(tried) == DRAWS + 4
    assert {"a": 1.0, "b": 0.0} in tried
    assert all(sum(weights.values()) == pytest.approx(1) for weights in tried)
    assert fitted({"a": 0.2, "b": 0.1}, measure, seed=20) == first
    assert fitted({"a": 0.2, "b": 0.1}, measure, seed=21) != first
