"""Confidence intervals and paired significance by bootstrap over dialogues.

All systems are resampled with the same dialogues, so differences are paired (Koehn 2004, "Statistical Significance
Tests for Machine Translation Evaluation"). Only dialogues are resampled: the intervals do not include
the variance between training seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

MAX_CELLS = 2_000_000
"""Maximum number of sampled dialogues in memory at once, which bounds the memory for large test sets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A mean over ``n`` dialogues and its confidence interval."""

    mean: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Mean of ``a - b`` over the same dialogues, its interval, and the p-value of the null hypothesis that it is 0."""

    difference: float
    low: float
    high: float
    p_value: float
    n: int


def bootstrap_interval(values: ArrayLike, *, samples: int, confidence: float, seed: int) -> Interval:
    """Return the mean of one value per dialogue with its percentile bootstrap interval."""
    return bootstrap_intervals(np.asarray(values)[None], samples=samples, confidence=confidence, seed=seed)[0]


def paired_bootstrap(a: ArrayLike, b: ArrayLike, *, samples: int, confidence: float, seed: int) -> Comparison:
    """Compare two systems on the same dialogues; ``a[i]`` and ``b[i]`` are their scores on dialogue i.

    The p-value is two-sided with +1 smoothing: twice the fraction of resamples in which the sign of the difference
    flips, at most 1. It is 1 if the scores are equal on every dialogue.
    """
    first, second = np.asarray(a, float), np.asarray(b, float)
    if first.shape != second.shape:
        raise ValueError(f"paired scores need the same dialogues: {first.shape} is not {second.shape}")
    return paired_bootstraps((first - second)[None], samples=samples, confidence=confidence, seed=seed)[0]


def bootstrap_intervals(values: ArrayLike, *, samples: int, confidence: float, seed: int) -> list[Interval]:
    """Return `bootstrap_interval` of each row of ``values`` [rows, dialogues], with the same resamples for all."""
    rows = np.asarray(values, float)
    low, high = _percentiles(_resampled_means(rows, samples, seed), confidence)
    return [
        Interval(mean=float(mean), low=float(bottom), high=float(top), n=rows.shape[1])
        for mean, bottom, top in zip(rows.mean(axis=1), low, high, strict=True)
    ]


def paired_bootstraps(differences: ArrayLike, *, samples: int, confidence: float, seed: int) -> list[Comparison]:
    """Return `paired_bootstrap` of each row of ``differences`` [rows, dialogues], with the same resamples for all."""
    rows = np.asarray(differences, float)
    means = _resampled_means(rows, samples, seed)
    low, high = _percentiles(means, confidence)
    sign_flips = np.minimum((means <= 0).sum(axis=1), (means >= 0).sum(axis=1))
    p_values = np.minimum(1.0, 2 * (1 + sign_flips) / (1 + samples))
    return [
        Comparison(difference=float(mean), low=float(bottom), high=float(top), p_value=float(p), n=rows.shape[1])
        for mean, bottom, top, p in zip(rows.mean(axis=1), low, high, p_values, strict=True)
    ]


def _percentiles(means: np.ndarray, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=1)
    return low, high


def _resampled_means(rows: np.ndarray, samples: int, seed: int) -> np.ndarray:
    """Return [rows, samples]: means over dialogues drawn with replacement, the same ones for every row."""
    count = rows.shape[1]
    if not count:
        raise ValueError("a bootstrap needs at least one dialogue")
    generator = np.random.default_rng(seed)
    step = max(1, MAX_CELLS // count)
    means = np.empty((len(rows), samples))
    for start in range(0, samples, step):
        size = min(step, samples - start)
        drawn = generator.integers(count, size=(size, count)) + np.arange(size)[:, None] * count
        times = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        means[:, start : start + size] = rows @ times.T / count
    return means
