"""Stacking: a reranker that learns on dev which candidate is best, and leaves the best member only for a reason.

Rankers of several kinds are compared by cross-validation on the rows that are fitted to, each with several margins: how
much better than the best member's own summary a candidate has to look to be chosen. A ranker and a margin are used if
what they gain is more than its standard error, and the best member otherwise: the fewer the rows, the more they are
pulled towards it.

Dev says nothing about dialogues that are unlike any of it, and the best member least of all: where it is less sure of
its own summary than on dev, the members decide together, by minimum Bayes risk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yoyak.ensemble.features import Described, select_rows
from yoyak.ensemble.folds import Fold
from yoyak.ensemble.mbr import mbr
from yoyak.ensemble.pool import DIGITS, Outcome, Row
from yoyak.ensemble.rankers import Kind, Ranker, fit_ranker
from yoyak.params.ensemble import Mbr

MARGINS = (0.0, 0.25, 0.5, 0.75, 0.9)
"""Margins to try: the share of dialogues that would leave the best member without a margin, and stay because of it."""
UNFAMILIAR = 0.01
"""Share of dev on which the best member may be less sure of its summary than on a dialogue that is like dev."""
CONSENSUS = Mbr(type="mbr")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reranker:
    """The best member of dev, and what chooses another candidate in place of its own summary."""

    member: str
    kind: Kind | None = None
    ranker: Ranker | None = None
    """None if no ranker gains enough over the member."""
    margin: float = 0.0
    """How much better than the member's own summary another candidate has to look."""
    lowest_score: float | None = None
    """Where the member's own summary has a lower score, minimum Bayes risk decides; None if it never does."""


def select_reranker(
    described: Described, scores: np.ndarray, kinds: Sequence[Kind], folds: Sequence[Fold], seed: int
) -> Reranker:
    """Return the reranker that cross-validation selects, fitted to all rows.

    Args:
        described: All candidates of the rows.
        scores: [candidates]: their combined ROUGE, 0 to 1.
        folds: Of the rows.
    """
    member = find_best_member(described, scores)
    layout = _Layout(described, member)
    held_out = {kind: np.zeros(len(scores)) for kind in kinds}
    for fold in folds:
        if not fold.fitted_to:
            return Reranker(member=member)
        part, kept = select_rows(described, sorted(fold.fitted_to))
        groups = np.array([row for row, _, _ in part.origins])
        tested = select_rows(described, sorted(fold.held_out))[1]
        for kind in kinds:
            ranker = fit_ranker(kind, part.values, groups, scores[kept], seed)
            held_out[kind][tested] = ranker.predict(described.values[tested])
    best: tuple[float, Kind, float] | None = None
    for kind, predicted in held_out.items():
        leads = layout.leads(predicted)
        positive = leads[leads > 0]
        for share in MARGINS:
            margin = round(float(np.quantile(positive, share)), DIGITS) if positive.size and share else 0.0
            gains = scores[layout.choose(predicted, margin)] - scores[layout.defaults]
            value = float(gains.mean() - gains.std(ddof=1) / np.sqrt(len(gains))) if len(gains) > 1 else 0.0
            if value > 0 and (best is None or value > best[0]):
                best = (value, kind, margin)
    if best is None:
        return Reranker(member=member)
    _, kind, margin = best
    ranker = fit_ranker(kind, described.values, layout.groups, scores, seed)
    return Reranker(member=member, kind=kind, ranker=ranker, margin=margin)


def find_lowest_score(rows: Sequence[Row], member: str) -> float:
    """Return the score below which a member's own summary is of a dialogue unlike these."""
    return round(float(np.quantile([row.candidates[member][0].score for row in rows], UNFAMILIAR)), DIGITS)


def find_best_member(described: Described, scores: np.ndarray) -> str:
    """Return the member whose own summaries score best; the first one if several do."""
    own: dict[str, list[float]] = {}
    for (_, member, rank), score in zip(described.origins, scores, strict=True):
        if rank == 0:
            own.setdefault(member, []).append(float(score))
    return max(own, key=lambda member: round(float(np.mean(own[member])), DIGITS))


def choose(
    rows: Sequence[Row], described: Described, reranker: Reranker, weights: Mapping[str, float], granularity: str
) -> list[Outcome]:
    """Return the candidate of each row that leads by the margin, or else the member's own; ties go to the first.

    The score is how much better it looks than the member's own summary; where the members decide together, it is the
    expected utility.

    Args:
        weights: The members' weights for minimum Bayes risk.
    """
    if not rows:
        return []
    outcomes = _rerank(rows, described, reranker)
    unlike = [
        index
        for index, row in enumerate(rows)
        if reranker.lowest_score is not None and row.candidates[reranker.member][0].score < reranker.lowest_score
    ]
    together = mbr([rows[index] for index in unlike], weights, granularity, CONSENSUS)
    for index, outcome in zip(unlike, together, strict=True):
        outcomes[index] = outcome
    return outcomes


def _rerank(rows: Sequence[Row], described: Described, reranker: Reranker) -> list[Outcome]:
    if reranker.ranker is None:
        return [Outcome(text=row.best(reranker.member), score=0.0, member=reranker.member) for row in rows]
    layout = _Layout(described, reranker.member)
    predicted = reranker.ranker.predict(described.values)
    gains = np.round(predicted - predicted[layout.defaults][layout.groups], DIGITS)
    outcomes = []
    for index in layout.choose(predicted, reranker.margin):
        row, member, rank = described.origins[index]
        text = rows[row].candidates[member][rank].text
        outcomes.append(Outcome(text=text, score=float(gains[index]), member=member, rank=rank))
    return outcomes


class _Layout:
    """Where the candidates of each row are."""

    def __init__(self, described: Described, member: str) -> None:
        self.groups = np.array([row for row, _, _ in described.origins])
        self.starts = np.searchsorted(self.groups, np.arange(self.groups.max() + 1))
        self.defaults = np.array(
            [index for index, (_, name, rank) in enumerate(described.origins) if name == member and rank == 0]
        )

    def leads(self, predicted: np.ndarray) -> np.ndarray:
        """Return [rows]: how far the best candidate is ahead of the member's own."""
        predicted = np.round(predicted, DIGITS)
        best: np.ndarray = np.maximum.reduceat(predicted, self.starts)
        return np.round(best - predicted[self.defaults], DIGITS)

    def choose(self, predicted: np.ndarray, margin: float) -> np.ndarray:
        """Return [rows]: the indices of the chosen candidates."""
        rounded = np.round(predicted, DIGITS)
        highest = np.maximum.reduceat(rounded, self.starts)[self.groups] == rounded
        first = np.full(len(self.starts), len(rounded))
        np.minimum.at(first, self.groups[highest], np.flatnonzero(highest))
        return np.where(self.leads(predicted) > margin, first, self.defaults)
