"""Fitting a strategy on dev: its weights or its reranker.

fitted = fit(strategy, members, dev_rows, references, granularity="morpheme", seed=20)
outcomes = list(combine_all(fitted.combiner, test_rows, processes=2))
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yoyak.ensemble import stack, weights
from yoyak.ensemble.combine import Combiner, combine
from yoyak.ensemble.folds import FOLDS, make_folds, mean_of, require_rows
from yoyak.ensemble.pool import Outcome, Row
from yoyak.params.base import ROUGE_WEIGHTS
from yoyak.params.ensemble import Mbr, OfCandidates, Stack, Vote, VotePositional, Weighted
from yoyak.scoring.rouge import rouge

WeightedStrategy = Vote | VotePositional | Weighted | Mbr
"""Strategies whose members have weights."""

Fit = Callable[[Sequence[int]], Combiner]
"""Fits a strategy to some rows of dev."""
Apply = Callable[[Combiner, Sequence[int]], list[Outcome]]
"""Combines some rows of dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted combiner, and the outcomes on dev."""

    combiner: Combiner
    outcomes: list[Outcome]
    """One per row of dev; if something was learned there, from a fit that has not seen the row."""
    cross_fitted: bool
    """Whether something was learned, so that ``outcomes`` come from several fits."""


def fit(
    strategy: OfCandidates,
    members: Sequence[str],
    rows: Sequence[Row],
    references: Sequence[Sequence[str]],
    *,
    granularity: str,
    seed: int,
) -> Fitted:
    """Fit a strategy to dev, and combine dev by cross-fitting.

    Raises UserError for weights that do not match the members, and for a dev set too small to learn from.
    """
    if len(members) == 1:
        combiner = Combiner(strategy=strategy, granularity=granularity, weights={members[0]: 1.0})
        return Fitted(combiner=combiner, outcomes=combine(combiner, rows), cross_fitted=False)
    if isinstance(strategy, Stack):
        fit_to, apply = _make_stack_steps(strategy, members, rows, references, granularity)
    else:
        fit_to, apply = _make_weight_steps(strategy, members, rows, references, granularity, seed)
    all_rows = range(len(rows))
    combiner = fit_to(all_rows)
    if not (isinstance(strategy, Stack) or strategy.weights in ("dev", "fit")):
        return Fitted(combiner=combiner, outcomes=apply(combiner, all_rows), cross_fitted=False)
    outcomes: dict[int, Outcome] = {}
    for fold in make_folds([row.dialogue for row in rows], strategy.folds if isinstance(strategy, Stack) else FOLDS):
        outcomes |= zip(fold.held_out, apply(fit_to(fold.fitted_to), fold.held_out), strict=True)
    return Fitted(combiner=combiner, outcomes=[outcomes[index] for index in all_rows], cross_fitted=True)


def _make_stack_steps(
    strategy: Stack,
    members: Sequence[str],
    rows: Sequence[Row],
    references: Sequence[Sequence[str]],
    granularity: str,
) -> tuple[Fit, Apply]:
    """Return functions that fit and apply a reranker; features depend only on the row, so they are computed once."""
    described = stack.describe(rows, members, granularity)
    texts = [rows[row].candidates[member][rank].text for row, member, rank in described.origins]
    scores = score_texts(texts, [references[row] for row, _, _ in described.origins], granularity)

    def fit_to(indices: Sequence[int]) -> Combiner:
        require_rows(indices)
        selected, indices_of_selected = stack.select_rows(described, indices)
        return Combiner(
            strategy=strategy,
            granularity=granularity,
            weights=weights.equal(members),
            model=stack.fit(selected, scores[indices_of_selected]),
        )

    def apply(combiner: Combiner, indices: Sequence[int]) -> list[Outcome]:
        assert combiner.model is not None
        return stack.choose(
            [rows[index] for index in indices], stack.select_rows(described, indices)[0], combiner.model
        )

    return fit_to, apply


def _make_weight_steps(
    strategy: WeightedStrategy,
    members: Sequence[str],
    rows: Sequence[Row],
    references: Sequence[Sequence[str]],
    granularity: str,
    seed: int,
) -> tuple[Fit, Apply]:
    """Return functions that fit the members' weights and combine with them."""
    scores = {}
    if strategy.weights in ("dev", "fit"):
        scores = {m: score_texts([row.best(m) for row in rows], references, granularity) for m in members}

    def combiner_with(member_weights: Mapping[str, float]) -> Combiner:
        return Combiner(strategy=strategy, granularity=granularity, weights=member_weights)

    def apply(combiner: Combiner, indices: Sequence[int]) -> list[Outcome]:
        return combine(combiner, [rows[index] for index in indices])

    def fit_to(indices: Sequence[int]) -> Combiner:
        if isinstance(strategy.weights, dict):
            return combiner_with(_given_weights(strategy.weights, strategy.members, members))
        if strategy.weights == "equal":
            return combiner_with(weights.equal(members))
        means = {member: mean_of(values, indices) for member, values in scores.items()}
        if strategy.weights == "dev":
            return combiner_with(weights.by_score(means))
        require_rows(indices)
        targets = [references[index] for index in indices]

        def measure(candidate: Mapping[str, float]) -> float:
            outcomes = apply(combiner_with(candidate), indices)
            return float(score_texts([outcome.text for outcome in outcomes], targets, granularity).mean())

        return combiner_with(weights.fitted(means, measure, seed))

    return fit_to, apply


def _given_weights(
    given: Mapping[str, float], named: Sequence[str] | None, members: Sequence[str]
) -> Mapping[str, float]:
    """Return the weights of ``members`` given in params.yaml; ``members`` may lack some of the ``named`` ones."""
    kept = {name: value for name, value in given.items() if name in members}
    any_weight = any(given.get(name, 0) for name in named or given)
    if any_weight and len(kept) == len(members) and not any(kept.values()):
        # All members with a weight are excluded: the remaining ones count equally.
        return weights.equal(members)
    return weights.normalised(kept, members)


def score_texts(texts: Sequence[str], references: Sequence[Sequence[str]], granularity: str) -> np.ndarray:
    """Return [texts]: the combined ROUGE that strategies are fitted to, 0 to 1."""
    scores = rouge(texts, references, granularity=granularity, multi_reference="mean", weights=ROUGE_WEIGHTS)
    return scores["combined"]
