"""The members' weights: equal, given, proportional to dev scores, or fitted on dev. They always sum to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from yoyak.errors import UserError, nearest

DRAWS = 64
"""Number of random weightings that a fit tries."""


def normalised(weights: Mapping[str, float], members: Sequence[str]) -> dict[str, float]:
    """Return the weights of ``members``, summing to one.

    Raises UserError for a weight of an unknown member, a member without a weight, or weights that are all 0.
    """
    for name in weights:
        if name not in members:
            raise UserError(f"weights: there is no member '{name}'{nearest(name, members)}.")
    missing = [member for member in members if member not in weights]
    if missing:
        raise UserError(f"weights: '{missing[0]}' has none: give every member one, 0 to exclude it.")
    if not all(np.isfinite(value) and value >= 0 for value in weights.values()) or not any(weights.values()):
        raise UserError("weights must be finite and at least 0, with one of them above 0.")
    # Divided by the largest first, because a sum of very large weights overflows.
    largest = max(weights.values())
    total = sum(value / largest for value in weights.values())
    return {member: weights[member] / largest / total for member in members}


def equal(members: Sequence[str]) -> dict[str, float]:
    """Return the same weight for every member."""
    return {member: 1 / len(members) for member in members}


def by_score(scores: Mapping[str, float]) -> dict[str, float]:
    """Return weights proportional to the members' dev scores; equal ones if all scores are 0."""
    total = sum(scores.values())
    return {member: value / total for member, value in scores.items()} if total else equal(list(scores))


def fitted(scores: Mapping[str, float], measure: Callable[[Mapping[str, float]], float], seed: int) -> dict[str, float]:
    """Return the weights that maximize ``measure`` among equal ones, those by score, single members and random ones.

    Random weights are uniform on the simplex. Ties go to the weights tried first, so that unusual weights must be
    strictly better.
    """
    members = list(scores)
    candidates = [equal(members), by_score(scores), *({m: float(m == name) for m in members} for name in members)]
    for drawn in np.random.default_rng(seed).dirichlet(np.ones(len(members)), DRAWS):
        candidates.append(dict(zip(members, drawn.tolist(), strict=True)))
    values = [round(measure(weights), 9) for weights in candidates]
    return candidates[int(np.argmax(values))]
