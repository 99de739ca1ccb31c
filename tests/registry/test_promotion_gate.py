"""The gate: a challenger needs a significant gain on the gate split, whatever else was tried before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import permutation_test

from yoyak.params import Registry
from yoyak.registry.gate import check_behaviour, decide, sign_flip_test, spend
from yoyak.tracking.decisions import Verdict


def judge(
    gain: float, *, n: int = 100, noise: float = 0.05, slices: Any = None, attempt: int = 1, **rules: Any
) -> Verdict:
    """Decide about a challenger whose scores differ on each dialogue, by ``gain`` on average."""
    random = np.random.default_rng(0)
    champion = random.uniform(0.3, 0.6, n)
    differences = random.normal(0, noise, n)
    return decide(
        champion + gain + differences - differences.mean(),
        champion,
        slices=slices or [""] * n,
        rules=Registry(**{"min_gain": 0.0, "resamples": 5000, "seed_std": 0.0, **rules}),
        seed=1,
        champion_version=1,
        dataset="d" * 32,
        attempt=attempt,
    )


@pytest.mark.parametrize(
    ("gain", "passed"), [(0.05, True), (0.012, True), (0.004, False), (-0.004, False), (-0.05, False)]
)
def test_a_gain_has_to_be_significant(gain: float, passed: bool) -> None:
    """With a standard deviation of 0.05 on 100 dialogues, the standard error of the mean is 0.005."""
    verdict = judge(gain)
    assert verdict.outcome == ("passed" if passed else "failed")
    assert verdict.gain == pytest.approx(gain)
    assert verdict.low is not None and verdict.high is not None and verdict.low < gain < verdict.high
    assert (verdict.dialogues, verdict.champion, verdict.attempt) == (100, 1, 1)


def test_a_gain_has_to_be_large_enough() -> None:
    assert judge(0.012, min_gain=0.011).passed
    assert judge(0.012, min_gain=0.013).outcome == "failed"


def test_dialogues_are_paired() -> None:
    """The same scores in another order have the same mean, but differ by chance."""
    random = np.random.default_rng(0)
    champion = random.uniform(0.3, 0.6, 100)
    rules = Registry(resamples=5000, seed_std=0.0)
    options: dict[str, Any] = {"slices": [""] * 100, "rules": rules, "seed": 1, "champion_version": 1, "dataset": "d"}
    assert decide(champion + 0.01, champion, attempt=1, **options).passed
    assert not decide(random.permutation(champion + 0.01), champion, attempt=1, **options).passed


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_model_never_beats_itself(scores: list[float]) -> None:
    values = np.array(scores)
    rules = Registry(min_dialogues=2, resamples=1000, min_gain=0.0, seed_std=0.0)
    verdict = decide(
        values, values, slices=[""] * len(scores), rules=rules, seed=0, champion_version=1, dataset="d", attempt=1
    )
    assert not verdict.passed


@given(st.lists(st.integers(-100, 100), min_size=2, max_size=11))
def test_few_dialogues_are_tested_exactly(differences: list[int]) -> None:
    values = np.array(differences) / 100
    [p_value] = sign_flip_test(values[None], resamples=2**11, seed=0)
    # Of whole numbers, whose sums are exact: scipy compares sums that should be equal without a tolerance.
    whole = np.array(differences, dtype=float)
    exact = permutation_test((whole,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf)
    assert p_value == pytest.approx(exact.pvalue)


def test_the_test_has_its_size() -> None:
    """Of 2,000 pairs of equal systems about 5 % and 1 % have p-values below these; skewed and heavy tails included."""
    random = np.random.default_rng(0)
    for draws in (
        random.standard_t(3, (2000, 60)),
        random.exponential(1, (2000, 60)) - random.exponential(1, (2000, 60)),
    ):
        p_values = sign_flip_test(draws, resamples=2000, seed=0)
        assert (p_values < 0.05).mean() == pytest.approx(0.05, abs=0.015)
        assert (p_values < 0.01).mean() == pytest.approx(0.01, abs=0.008)


def test_the_seeds_noise_has_to_be_exceeded_too() -> None:
    assert judge(0.02).passed
    assert not judge(0.02, seed_std=0.01).passed
    assert judge(0.05, seed_std=0.01).passed


def test_each_further_challenger_has_to_reach_more() -> None:
    """What all challengers of a champion may spend adds up to the significance."""
    levels = [spend(0.05, attempt) for attempt in range(1, 20_000)]
    assert levels == sorted(levels, reverse=True)
    assert 0.0499 < sum(levels) < 0.05
    assert judge(0.012, attempt=1).passed
    assert not judge(0.012, attempt=5).passed


def test_it_refuses_to_decide_with_too_few_dialogues_or_resamples() -> None:
    assert judge(0.2, n=49).outcome == "undecided"
    assert judge(0.2, n=49, min_dialogues=49).passed
    assert judge(0.2, attempt=20, resamples=1000).outcome == "undecided", "p below 0.0001 is out of reach"
    assert judge(0.2, attempt=20, resamples=50_000).passed


def test_it_may_not_be_worse_on_a_slice() -> None:
    gains = np.array([0.1] * 80 + [-0.2] * 20)
    champion = np.full(100, 0.5)
    options: dict[str, Any] = {
        "rules": Registry(resamples=5000, seed_std=0.0),
        "seed": 1,
        "champion_version": 1,
        "dataset": "d",
        "attempt": 1,
    }
    slices = ["seen"] * 80 + ["unseen"] * 20
    verdict = decide(champion + gains, champion, slices=slices, **options)
    assert verdict.outcome == "failed"
    assert {check.name: check.passed for check in verdict.checks}["slice.unseen"] is False
    assert "unseen" in verdict.sentence
    assert decide(champion + gains, champion, slices=[""] * 100, **options).passed
    # Of three dialogues no drop can be significant.
    assert decide(champion + gains, champion, slices=[""] * 97 + ["rare"] * 3, **options).passed


def test_behaviour_is_bounded() -> None:
    checks = {
        check.name: check.passed
        for check in check_behaviour({"masks": 0.1, "order": 0.3}, {"masks": 0.1, "order": 0.2, "names": 1.0})
    }
    assert checks == {"behaviour.masks": True, "behaviour.order": False, "behaviour.names": False}
