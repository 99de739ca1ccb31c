"""The gate: whether a challenger is better than the champion, on dialogues that chose neither of them.

The test is a one-sided sign-flip test of the paired differences (Fisher's randomization test). Since a champion meets
one challenger after another, its k-th challenger has to reach ``significance * 6 / (pi * k) ** 2``: these shares add
up to ``significance``, which therefore bounds the probability that a champion is ever replaced by a challenger that is
no better (Bonferroni's inequality; Foster and Stine 2008, "Alpha-investing"). docs/promotion.md explains it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from yoyak.params import Registry
from yoyak.scoring.bootstrap import paired_bootstrap
from yoyak.tracking.decisions import Check, Outcome, Verdict

MAX_CELLS = 20_000_000
"""Maximum number of signs in memory at once."""


def spend(significance: float, attempt: int) -> float:
    """Return the significance that a champion's ``attempt``-th challenger has to reach; all of them add up to it."""
    return significance * 6 / (math.pi * attempt) ** 2


def sign_flip_test(differences: np.ndarray, *, resamples: int, seed: int, noise: float = 0.0) -> np.ndarray:
    """Return the one-sided p-value of each row of paired differences [rows, dialogues] having a mean above 0.

    All sign flips are enumerated if there are at most ``resamples`` of them, which makes the p-value exact; otherwise
    that many are drawn, the same for every row, and counted with the observed one. ``noise`` is the standard deviation
    of a normal error that the means of both systems share with no dialogue, such as that of their training seeds: the
    null distribution is widened by it.
    """
    count = differences.shape[1]
    observed = differences.mean(axis=1)
    # Different summation orders must not make an equal mean look smaller.
    thresholds = (observed - 1e-12)[:, None]
    exact = 2.0**count <= resamples
    total = 2**count if exact else resamples
    generator = np.random.default_rng(seed)
    exceeded = np.zeros(len(differences))
    step = max(1, MAX_CELLS // count)
    for start in range(0, total, step):
        size = min(step, total - start)
        if exact:
            flips = (np.arange(start, start + size)[:, None] >> np.arange(count)) & 1
        else:
            flips = generator.integers(0, 2, (size, count), dtype=np.int8)
        means = differences @ (1 - 2 * flips.astype(np.float32)).T / count
        exceeded += (_normal_tail((thresholds - means) / noise) if noise else means >= thresholds).sum(axis=1)
    return exceeded / total if exact else (1 + exceeded) / (1 + total)


def decide(
    challenger: np.ndarray,
    champion: np.ndarray,
    *,
    slices: Sequence[str],
    rules: Registry,
    seed: int,
    champion_version: int,
    dataset: str,
    attempt: int,
    other_checks: Sequence[Check] = (),
) -> Verdict:
    """Decide by the combined ROUGE of each gate dialogue [dialogues] whether a challenger is promoted.

    Args:
        slices: The slice of each dialogue; empty strings belong to none.
        other_checks: Conditions that do not depend on the comparison, such as size.
    """
    differences = challenger - champion
    significance = spend(rules.significance, attempt)

    def verdict(outcome: Outcome, sentence: str, **figures: float) -> Verdict:
        return Verdict(
            outcome=outcome,
            sentence=sentence,
            champion=champion_version,
            dataset=dataset,
            dialogues=len(differences),
            attempt=attempt,
            significance=significance,
            checks=checks,
            **figures,
        )

    checks: tuple[Check, ...] = ()
    problem = _reason_not_to_decide(len(differences), significance, attempt, rules)
    if problem:
        return verdict("undecided", problem)
    p_value = float(
        sign_flip_test(differences[None], resamples=rules.resamples, seed=seed, noise=math.sqrt(2) * rules.seed_std)[0]
    )
    interval = paired_bootstrap(
        challenger, champion, samples=rules.resamples, confidence=1 - rules.significance, seed=seed
    )
    gain = interval.difference
    checks = (
        Check(
            name="significance",
            passed=p_value < significance,
            sentence=f"p = {p_value:.4f}, and p below {significance:.4f} is required of challenger {attempt}",
        ),
        Check(
            name="gain",
            passed=gain >= rules.min_gain,
            sentence=f"gain {gain:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}] on {len(differences)} gate "
            f"dialogues, and {rules.min_gain:g} is required",
        ),
        *_check_slices(differences, slices, rules, seed),
        *other_checks,
    )
    failed = [check.sentence for check in checks if not check.passed]
    sentence = "; ".join(failed) if failed else f"{checks[1].sentence}; {checks[0].sentence}"
    figures = {"gain": gain, "low": interval.low, "high": interval.high, "p_value": p_value}
    return verdict("failed" if failed else "passed", sentence, **figures)


def check_behaviour(rates: Mapping[str, float], bounds: Mapping[str, float]) -> list[Check]:
    """Compare failure rates of behaviour checks with their bounds; a rate that is missing fails."""
    checks = []
    for name, bound in bounds.items():
        rate = rates.get(name)
        value = "not measured" if rate is None else f"{rate:.1%}"
        checks.append(
            Check(
                name=f"behaviour.{name}",
                passed=rate is not None and rate <= bound,
                sentence=f"{name} is {value}, and at most {bound:.1%} is allowed",
            )
        )
    return checks


def _reason_not_to_decide(dialogues: int, significance: float, attempt: int, rules: Registry) -> str:
    if dialogues < rules.min_dialogues:
        return f"only {dialogues} gate dialogues can be compared, and registry.min_dialogues is {rules.min_dialogues}"
    reachable = 2.0**-dialogues if 2.0**dialogues <= rules.resamples else 1 / (rules.resamples + 1)
    if reachable >= significance:
        return (
            f"challenger {attempt} of this champion needs p below {significance:.2g}, which registry.resamples = "
            f"{rules.resamples} cannot reach"
        )
    return ""


def _check_slices(differences: np.ndarray, slices: Sequence[str], rules: Registry, seed: int) -> list[Check]:
    """Check that the challenger is not significantly worse on any slice (Bonferroni's correction over slices)."""
    labels = np.array(slices)
    names = sorted(set(slices) - {""})
    checks = []
    for name in names:
        values = differences[labels == name]
        [p_value] = sign_flip_test(-values[None], resamples=rules.resamples, seed=seed)
        limit = rules.significance / len(names)
        checks.append(
            Check(
                name=f"slice.{name}",
                passed=bool(values.mean() >= 0 or p_value >= limit),
                sentence=f"{values.mean():+.4f} on {len(values)} dialogues of the slice '{name}', p = {p_value:.4f}",
            )
        )
    return checks


def _normal_tail(z: np.ndarray) -> np.ndarray:
    """Return the probability that a standard normal variable exceeds each ``z``."""
    from scipy.special import ndtr

    return ndtr(-z)
