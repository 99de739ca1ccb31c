"""Cross-fitting: dev is divided into folds, so that each dialogue is combined by a fit that has not seen it.

Whatever learns from dev (weights, rerankers, greedy soups) is scored there on the outcomes of these fits; the other
splits are combined by a fit to all of dev. Otherwise a strategy would be rewarded on dev for what it memorized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yoyak.errors import UserError

FOLDS = 5
"""Default number of folds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Row indices of dev: the held-out ones, and those used for the fit."""

    held_out: list[int]
    fitted_to: list[int]
    """Empty if all rows have the same dialogue."""


def make_folds(dialogues: Sequence[str], count: int = FOLDS) -> list[Fold]:
    """Return at most ``count`` folds of the rows; every row is held out once, identical dialogues in the same fold."""
    from sklearn.model_selection import GroupKFold

    if not dialogues:
        return []
    count = min(count, len(set(dialogues)))
    if count < 2:
        return [Fold(held_out=list(range(len(dialogues))), fitted_to=[])]
    splits = GroupKFold(count).split(dialogues, groups=dialogues)
    return [Fold(held_out=held_out.tolist(), fitted_to=fitted_to.tolist()) for fitted_to, held_out in splits]


def require_rows(rows: Sequence[int]) -> None:
    """Raise UserError if there are no rows to fit to."""
    if not rows:
        raise UserError("strategies that are fitted on dev need at least two distinct dialogues there, and auto three.")


def mean_of(scores: np.ndarray, rows: Sequence[int]) -> float:
    """Return the mean score of some rows; 0 of none."""
    return float(scores[list(rows)].mean()) if rows else 0.0
