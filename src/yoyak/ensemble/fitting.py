"""Fitting a strategy on dev: its weights, its reranker, or the choice between several strategies.

fitted = fit(strategy, members, dev_rows, references, granularity="morpheme", seed=20)
outcomes = list(combine_all(fitted.combiner, test_rows, processes=2))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from yoyak.ensemble.combine import Combiner, combine
from yoyak.ensemble.pool import DIGITS, Outcome, Row
from yoyak.ensemble.stack import Reranker, find_lowest_score
from yoyak.ensemble.steps import Dev, Steps, make_steps, member_steps, own_scores
from yoyak.params.ensemble import Auto, OfCandidates, Stack
from yoyak.scoring.ensembles import StrategyChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted combiner, and the outcomes on dev."""

    combiner: Combiner
    outcomes: list[Outcome]
    """One per row of dev; if something was learned there, from a fit that has not seen the row."""
    cross_fitted: bool
    """Whether something was learned, so that ``outcomes`` come from several fits."""
    choice: StrategyChoice | None = None
    """What `auto` chose among."""


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
    dev = Dev(rows=rows, references=references, members=members, granularity=granularity, seed=seed, known={})
    if isinstance(strategy, Auto):
        return _fit_auto(strategy, dev)
    steps, all_rows = make_steps(strategy, dev), range(len(rows))
    fitted = Fitted(combiner=steps.fit_to(all_rows), outcomes=steps.cross_fit(dev, all_rows), cross_fitted=steps.learns)
    return _keep_member(fitted, dev) if isinstance(strategy, Stack) else fitted


def _keep_member(fitted: Fitted, dev: Dev) -> Fitted:
    """Return a reranker's fit, without its ranker if the fits did not do better than the best member on dev."""
    own = {member: round(float(scores.mean()), DIGITS) for member, scores in own_scores(dev).items()}
    best = max(own, key=lambda member: own[member])
    mean = float(dev.score_outcomes(fitted.outcomes, range(len(dev.rows))).mean())
    if round(mean, DIGITS) >= own[best]:
        return fitted
    model = fitted.combiner.model
    if model is None or model.lowest_score is None:
        combiner = replace(fitted.combiner, weights={best: 1.0}, model=None, scorers=())
    else:
        combiner = replace(
            fitted.combiner, model=Reranker(member=best, lowest_score=find_lowest_score(dev.rows, best)), scorers=()
        )
    outcomes = [Outcome(text=row.best(best), score=0.0, member=best) for row in dev.rows]
    return Fitted(combiner=combiner, outcomes=outcomes, cross_fitted=True)


def _fit_auto(strategy: Auto, dev: Dev) -> Fitted:
    """Return the option with the best cross-validated score.

    The outcomes on dev are those of the same choice made without the fold that it is applied to, so that their mean is
    what the choice is worth; the mean by which an option was chosen is the highest of several, and flatters it.
    """
    options = {member: member_steps(dev, member) for member in dev.members}
    options |= {
        name: make_steps(option, dev)
        for name, option in strategy.options.items()
        if dev.scorers or not option.needs_likelihoods
    }
    all_rows = range(len(dev.rows))
    means = _cross_validate(options, dev, all_rows)
    chosen = _find_best(means)
    outcomes: dict[int, Outcome] = {}
    chosen_in_folds = []
    for held_out, fitted_to in dev.fold(all_rows, strategy.folds):
        name = _find_best(_cross_validate(options, dev, fitted_to)) if fitted_to else next(iter(options))
        chosen_in_folds.append(name)
        steps = options[name]
        outcomes |= zip(held_out, steps.apply(steps.fit_to(fitted_to), held_out), strict=True)
    ordered = [outcomes[index] for index in all_rows]
    choice = StrategyChoice(
        chosen=chosen,
        options={name: round(mean, 6) for name, mean in means.items()},
        in_folds=tuple(chosen_in_folds),
        naive=round(means[chosen], 6),
        nested=round(float(dev.score_outcomes(ordered, all_rows).mean()), 6),
    )
    combiner = options[chosen].fit_to(all_rows)
    return Fitted(combiner=combiner, outcomes=ordered, cross_fitted=True, choice=choice)


def _cross_validate(options: Mapping[str, Steps], dev: Dev, indices: Sequence[int]) -> dict[str, float]:
    """Return the mean score of each option on some rows, each row by a fit to others of them."""
    return {
        name: float(np.mean(dev.score_outcomes(steps.cross_fit(dev, indices), indices)))
        for name, steps in options.items()
    }


def _find_best(means: Mapping[str, float]) -> str:
    """Return the best option; of equal ones the first, so that members come before strategies."""
    return max(means, key=lambda name: round(means[name], DIGITS))
