"""Cross-fitting: dev cut into folds, so that each dialogue is combined by a fit that has not seen it.

Whatever learns from dev (weights, rerankers, greedy soups) is scored there on the outcomes of these fits; one fitted
to all of dev writes the other splits. Without that, a strategy would be praised on dev for what it memorized.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yoyak.errors import UserError

FOLDS = 5
"""Parts that dev is cut into where params.yaml does not say how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """Row indices of dev: those that are held out, and those that the fit for them sees."""

    held_out: list[int]
    fitted_to: list[int]
    """Empty where all rows are the same dialogue."""


def make_folds(dialogues: Sequence[str], count: int = FOLDS) -> list[Fold]:
    """Return at most ``count`` folds of the rows; every row is held out once, equal dialogues in the same fold."""
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
        raise UserError("strategies that are fitted on dev need at least two different dialogues there.")


def mean_of(scores: np.ndarray, rows: Sequence[int]) -> float:
    """Return the mean score of some rows; 0 of none."""
    return float(scores[list(rows)].mean()) if rows else 0.0
