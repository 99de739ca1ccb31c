"""The members' weights: equal, given, from their dev scores, or fitted on dev. They always sum to one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from yoyak.errors import UserError, nearest

DRAWS = 64
"""Weights that are tried when they are fitted."""


def normalised(weights: Mapping[str, float], members: Sequence[str]) -> dict[str, float]:
    """Return the weights of ``members``, summing to one.

    Raises UserError for a weight of nobody, a member without one, and weights that are all 0.
    """
    for name in weights:
        if name not in members:
            raise UserError(f"weights: there is no member '{name}'{nearest(name, members)}.")
    missing = [member for member in members if member not in weights]
    if missing:
        raise UserError(f"weights: '{missing[0]}' has none: give each member one, 0 silences it.")
    if not all(np.isfinite(value) and value >= 0 for value in weights.values()) or not any(weights.values()):
        raise UserError("weights must be numbers of 0 or more, and one of them above 0.")
    # The largest first: the sum of very large ones is no number.
    largest = max(weights.values())
    total = sum(value / largest for value in weights.values())
    return {member: weights[member] / largest / total for member in members}


def equal(members: Sequence[str]) -> dict[str, float]:
    """Return the same weight for every member."""
    return {member: 1 / len(members) for member in members}


def by_score(scores: Mapping[str, float]) -> dict[str, float]:
    """Return weights that are proportional to the members' dev scores; equal where all are 0."""
    total = sum(scores.values())
    return {member: value / total for member, value in scores.items()} if total else equal(list(scores))


def fitted(scores: Mapping[str, float], measure: Callable[[Mapping[str, float]], float], seed: int) -> dict[str, float]:
    """Return the weights with which ``measure`` is highest: equal ones, those of the scores, or drawn ones.

    Draws are uniform over all weights that sum to one. What is tried first wins a tie, so that nothing far-fetched is
    taken for nothing.
    """
    members = list(scores)
    tries = [equal(members), by_score(scores), *({m: float(m == name) for m in members} for name in members)]
    for drawn in np.random.default_rng(seed).dirichlet(np.ones(len(members)), DRAWS):
        tries.append(dict(zip(members, drawn.tolist(), strict=True)))
    reached = [round(measure(weights), 9) for weights in tries]
    return tries[int(np.argmax(reached))]
