"""Intervals cover as often as they say, and p-values mean what they should."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from yoyak.scoring.bootstrap import bootstrap_interval, bootstrap_intervals, paired_bootstrap

OPTIONS: dict[str, Any] = {"samples": 1000, "confidence": 0.95, "seed": 7}


def test_the_interval_covers_the_true_mean_at_about_its_confidence() -> None:
    generator = np.random.default_rng(1)
    sets = generator.beta(2, 3, size=(400, 80))
    intervals = [bootstrap_interval(values, **OPTIONS) for values in sets]
    covered = np.mean([row.low <= 0.4 <= row.high for row in intervals])
    assert 0.91 <= covered <= 0.98
    width = np.mean([row.high - row.low for row in intervals])
    assert width == pytest.approx(2 * 1.96 * np.sqrt(0.04 / 80), rel=0.1)


def test_higher_confidence_gives_wider_intervals() -> None:
    values = np.random.default_rng(2).random(50)
    narrow = bootstrap_interval(values, samples=1000, confidence=0.5, seed=0)
    wide = bootstrap_interval(values, samples=1000, confidence=0.99, seed=0)
    assert wide.low < narrow.low < narrow.mean < narrow.high < wide.high


def test_the_seed_fixes_the_result_and_metrics_share_their_resamples() -> None:
    values = np.random.default_rng(2).random((3, 50))
    assert bootstrap_interval(values[1], **OPTIONS) == bootstrap_interval(values[1], **OPTIONS)
    assert bootstrap_interval(values[1], **OPTIONS) != bootstrap_interval(values[1], **{**OPTIONS, "seed": 8})
    together = bootstrap_intervals(values, **OPTIONS)[1]
    single = bootstrap_interval(values[1], **OPTIONS)
    assert (together.low, together.high) == pytest.approx((single.low, single.high))


def test_equal_systems_have_a_p_value_of_one() -> None:
    values = np.random.default_rng(3).random(40)
    result = paired_bootstrap(values, values, **OPTIONS)
    assert (result.difference, result.low, result.high, result.p_value, result.n) == (0, 0, 0, 1, 40)


def test_a_clear_difference_is_significant_in_both_directions() -> None:
    generator = np.random.default_rng(4)
    weak = generator.random(60)
    strong = weak + 0.1 + generator.normal(0, 0.02, 60)
    up, down = paired_bootstrap(strong, weak, **OPTIONS), paired_bootstrap(weak, strong, **OPTIONS)
    assert up.p_value == down.p_value == pytest.approx(2 / 1001)
    assert 0 < up.low < up.difference < up.high
    assert down.difference == -up.difference


def test_pairing_sees_a_small_steady_gain_that_unpaired_intervals_hide() -> None:
    generator = np.random.default_rng(5)
    weak = generator.random(100)
    strong = weak + generator.normal(0.02, 0.03, 100)
    assert paired_bootstrap(strong, weak, **OPTIONS).p_value < 0.01
    assert bootstrap_interval(strong, **OPTIONS).low < bootstrap_interval(weak, **OPTIONS).high


def test_p_values_are_rarely_small_without_a_difference() -> None:
    generator = np.random.default_rng(6)
    p_values = [
        paired_bootstrap(*generator.normal(0.5, 0.2, size=(2, 60)), samples=300, confidence=0.95, seed=i).p_value
        for i in range(400)
    ]
    assert 0.02 <= np.mean(np.array(p_values) < 0.05) <= 0.09
    assert np.mean(p_values) == pytest.approx(0.5, abs=0.06)


def test_memory_is_bounded_for_big_test_sets() -> None:
    values = np.random.default_rng(8).random(20_000)
    tracemalloc.start()
    result = bootstrap_interval(values, samples=1000, confidence=0.95, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 120e6
    assert result.high - result.low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(20_000), rel=0.1)


def test_one_dialogue_gives_zero_width_and_none_is_an_error() -> None:
    result = bootstrap_interval([0.3], **OPTIONS)
    assert (result.low, result.high) == pytest.approx((0.3, 0.3))
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([], **OPTIONS)
    with pytest.raises(ValueError, match="same dialogues"):
        paired_bootstrap([0.1], [0.1, 0.2], **OPTIONS)
