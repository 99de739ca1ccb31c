"""How each strategy is fitted to some rows of dev, and applied to others: what cross-validation repeats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from yoyak.ensemble import stack, weights
from yoyak.ensemble.combine import Combiner, combine
from yoyak.ensemble.features import describe, select_rows
from yoyak.ensemble.folds import FOLDS, make_folds, mean_of, require_rows
from yoyak.ensemble.mbr import Known, mbr
from yoyak.ensemble.pool import Outcome, Row
from yoyak.ensemble.target import score_texts
from yoyak.params.ensemble import Likelihood, Mbr, Option, Stack, Vote, VotePositional, Weighted

INNER_FOLDS = 3
"""Folds by which a reranker is selected, within the rows that it is fitted to."""

WeightedStrategy = Vote | VotePositional | Weighted | Mbr | Likelihood
"""Strategies whose members have weights."""

Fit = Callable[[Sequence[int]], Combiner]
"""Fits a strategy to some rows of dev."""
Apply = Callable[[Combiner, Sequence[int]], list[Outcome]]
"""Combines some rows of dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dev:
    """The rows that strategies are fitted to, and their references."""

    rows: Sequence[Row]
    references: Sequence[Sequence[str]]
    members: Sequence[str]
    granularity: str
    seed: int
    known: dict[tuple[int, str], float]
    """Scores by row and text, which are computed once for all fits."""

    @property
    def scorers(self) -> list[str]:
        """The members that have scored the candidates."""
        return [member for member in self.members if self.rows and member in self.rows[0].likelihoods]

    def score(self, texts: Sequence[str], indices: Sequence[int]) -> np.ndarray:
        """Return [texts]: the combined ROUGE of the text of each of these rows."""
        new = [pair for pair in dict.fromkeys(zip(indices, texts, strict=True)) if pair not in self.known]
        scores = score_texts([text for _, text in new], [self.references[row] for row, _ in new], self.granularity)
        self.known.update(zip(new, scores.tolist(), strict=True))
        return np.array([self.known[pair] for pair in zip(indices, texts, strict=True)])

    def score_outcomes(self, outcomes: Sequence[Outcome], indices: Sequence[int]) -> np.ndarray:
        """Return [rows]: the combined ROUGE of the outcomes of these rows."""
        return self.score([outcome.text for outcome in outcomes], indices)

    def fold(self, indices: Sequence[int], count: int) -> list[tuple[list[int], list[int]]]:
        """Return the folds of some rows, as the held-out rows and those that are fitted to."""
        folds = make_folds([self.rows[index].dialogue for index in indices], count)
        return [([indices[row] for row in fold.held_out], [indices[row] for row in fold.fitted_to]) for fold in folds]


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """How a strategy is fitted and applied."""

    fit_to: Fit
    apply: Apply
    learns: bool
    """Whether it learns from the rows that it is fitted to."""
    folds: int = FOLDS

    def cross_fit(self, dev: Dev, indices: Sequence[int]) -> list[Outcome]:
        """Return the outcomes of some rows, each of a fit to others of them."""
        if not self.learns:
            return self.apply(self.fit_to(indices), indices)
        outcomes: dict[int, Outcome] = {}
        for held_out, fitted_to in dev.fold(indices, self.folds):
            outcomes |= zip(held_out, self.apply(self.fit_to(fitted_to), held_out), strict=True)
        return [outcomes[index] for index in indices]


def member_steps(dev: Dev, member: str) -> Steps:
    """Return the steps that pass a member's own summaries through, which need no fit."""
    combiner = Combiner(strategy=Vote(type="vote"), granularity=dev.granularity, weights={member: 1.0})
    return Steps(
        fit_to=lambda indices: combiner,
        apply=lambda fitted, indices: combine(fitted, [dev.rows[index] for index in indices]),
        learns=False,
    )


def make_steps(strategy: Option, dev: Dev) -> Steps:
    """Return how a strategy over several members is fitted and applied."""
    if isinstance(strategy, Stack):
        return _make_stack_steps(strategy, dev)
    return _make_weight_steps(strategy, dev)


def _make_stack_steps(strategy: Stack, dev: Dev) -> Steps:
    """Return the steps of a reranker; features depend only on the row, so they are computed once."""
    scorers = dev.scorers if strategy.likelihoods else []
    described = describe(dev.rows, dev.members, dev.granularity, scorers)
    texts = [dev.rows[row].candidates[member][rank].text for row, member, rank in described.origins]
    scores = dev.score(texts, [row for row, _, _ in described.origins])
    own = own_scores(dev)

    def fit_to(indices: Sequence[int]) -> Combiner:
        require_rows(indices)
        indices = sorted(indices)
        part, kept = select_rows(described, indices)
        folds = make_folds([dev.rows[index].dialogue for index in indices], INNER_FOLDS)
        reranker = stack.select_reranker(part, scores[kept], strategy.rankers, folds, dev.seed)
        if strategy.unfamiliar == "mbr":
            lowest = stack.find_lowest_score([dev.rows[index] for index in indices], reranker.member)
            reranker = replace(reranker, lowest_score=lowest)
        elif reranker.ranker is None:
            return _pass_through(strategy, dev, reranker.member)
        return Combiner(
            strategy=strategy,
            granularity=dev.granularity,
            weights=weights.by_score({member: mean_of(own[member], indices) for member in dev.members}),
            model=reranker,
            scorers=tuple(scorers) if reranker.ranker is not None else (),
        )

    def apply(combiner: Combiner, indices: Sequence[int]) -> list[Outcome]:
        rows = [dev.rows[index] for index in indices]
        if combiner.model is None:
            return combine(combiner, rows)
        in_order = sorted(indices)
        part, _ = select_rows(described, in_order)
        rows = [dev.rows[index] for index in in_order]
        outcomes = stack.choose(rows, part, combiner.model, combiner.weights, dev.granularity)
        by_index = dict(zip(in_order, outcomes, strict=True))
        return [by_index[index] for index in indices]

    return Steps(fit_to=fit_to, apply=apply, learns=True, folds=strategy.folds)


def _make_weight_steps(strategy: WeightedStrategy, dev: Dev) -> Steps:
    """Return the steps that fit the members' weights and combine with them."""
    members, known = dev.members, Known()
    scorers = tuple(dev.scorers) if strategy.uses_likelihoods else ()
    scores = {}
    if strategy.weights in ("dev", "fit"):
        scores = own_scores(dev)

    def combiner_with(member_weights: Mapping[str, float]) -> Combiner:
        # A member of weight 0 is not asked: where the ensemble is served, that takes a pass.
        asked = tuple(member for member in scorers if member_weights[member] > 0)
        return Combiner(strategy=strategy, granularity=dev.granularity, weights=member_weights, scorers=asked)

    def apply(combiner: Combiner, indices: Sequence[int]) -> list[Outcome]:
        rows = [dev.rows[index] for index in indices]
        if isinstance(strategy, Mbr) and not combiner.pass_through:
            return mbr(rows, combiner.weights, dev.granularity, strategy, known)
        return combine(combiner, rows)

    def fit_to(indices: Sequence[int]) -> Combiner:
        if isinstance(strategy.weights, dict):
            return combiner_with(_given_weights(strategy.weights, strategy.members, members))
        if strategy.weights == "equal":
            return combiner_with(weights.equal(members))
        means = {member: mean_of(values, indices) for member, values in scores.items()}
        if strategy.weights == "dev":
            return combiner_with(weights.by_score(means))
        require_rows(indices)

        def measure(candidate: Mapping[str, float]) -> float:
            if strategy.needs_likelihoods and scorers and not any(candidate[member] for member in scorers):
                # Nobody with a weight would say how likely anything is.
                return -math.inf
            outcomes = apply(combiner_with(candidate), indices)
            return float(dev.score_outcomes(outcomes, indices).mean())

        return combiner_with(weights.fitted(means, measure, dev.seed))

    return Steps(fit_to=fit_to, apply=apply, learns=strategy.weights in ("dev", "fit"))


def own_scores(dev: Dev) -> dict[str, np.ndarray]:
    """Return [rows] for each member: the combined ROUGE of its own summaries."""
    every = range(len(dev.rows))
    return {member: dev.score([row.best(member) for row in dev.rows], every) for member in dev.members}


def _pass_through(strategy: Stack, dev: Dev, member: str) -> Combiner:
    return Combiner(strategy=strategy, granularity=dev.granularity, weights={member: 1.0})


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
