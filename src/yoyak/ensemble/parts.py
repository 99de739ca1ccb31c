"""The analysis of a part of the data: the means, gains and intervals over the dialogues of a split or a slice."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yoyak.scoring.bins import length_bins
from yoyak.scoring.bootstrap import Comparison, Interval, bootstrap_intervals, paired_bootstraps
from yoyak.scoring.ensembles import (
    Agreement,
    Contribution,
    LengthBin,
    Lengths,
    PartAnalysis,
    StrategyInfo,
    StrategyResult,
)
from yoyak.scoring.results import DIGITS, round_figures

Scores = np.ndarray
"""[dialogues]: the primary score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DialogueFigures:
    """The figures of every dialogue that is analysed."""

    best_member: Scores
    oracle: Scores
    strategies: Mapping[str, Scores]
    without: Mapping[tuple[str, str], Scores]
    """By strategy and excluded member."""
    turns: np.ndarray
    chars: np.ndarray
    order: Sequence[int]
    """Of the members, best first."""


class PartSums:
    """The dialogues of a split or a slice, and what is summed over them."""

    def __init__(self, members: int, ensembles: Sequence[str]) -> None:
        self.indices = array("q")
        self.agreement = np.zeros((members, members))
        """ROUGE between the members' own summaries."""
        self.same = np.zeros((members, members))
        """Whether they are the same."""
        self.writers: dict[str, Counter[str]] = {name: Counter() for name in ensembles}
        """By ensemble: how many of its summaries each member wrote; empty is text of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bootstrap:
    """Settings for intervals and p-values."""

    samples: int
    confidence: float
    seed: int

    def average(self, scores: Sequence[np.ndarray]) -> list[Interval]:
        means = bootstrap_intervals(scores, samples=self.samples, confidence=self.confidence, seed=self.seed)
        return [round_figures(mean) for mean in means]

    def compare(self, differences: Sequence[np.ndarray]) -> list[Comparison]:
        if not differences:
            return []
        compared = paired_bootstraps(differences, samples=self.samples, confidence=self.confidence, seed=self.seed)
        return [round_figures(comparison) for comparison in compared]


def analyse_part(
    figures: DialogueFigures, part: PartSums, infos: Mapping[str, StrategyInfo], bootstrap: Bootstrap
) -> PartAnalysis:
    """Return the analysis of some dialogues."""
    indices = np.array(part.indices)
    best, oracle = figures.best_member[indices], figures.oracle[indices]
    scores = {name: values[indices] for name, values in figures.strategies.items()}
    headroom = round(float((oracle - best).mean()), DIGITS)
    best_interval, oracle_interval, *means = bootstrap.average([best, oracle, *scores.values()])
    differences = [values - best for values in scores.values()]
    differences += [scores[name] - values[indices] for (name, _), values in figures.without.items()]
    compared = iter(bootstrap.compare(differences))
    gains = [next(compared) for _ in scores]
    changes = {key: next(compared) for key in figures.without}
    results = {}
    for name, score, gain in zip(scores, means, gains, strict=True):
        written = part.writers[name]
        results[name] = StrategyResult(
            score=score,
            gain=gain,
            captured=round(gain.difference / headroom, DIGITS) if headroom > 0 else None,
            contributions={
                member: Contribution(
                    change=changes.get((name, member)), share=round(written[member] / len(indices), DIGITS)
                )
                for member in infos[name].members
            },
            of_several=round(written[""] / len(indices), DIGITS),
        )
    order = np.ix_(figures.order, figures.order)
    return PartAnalysis(
        n=len(indices),
        best_member=best_interval,
        oracle=oracle_interval,
        headroom=headroom,
        strategies=results,
        agreement=Agreement(
            rouge=_to_tuples(part.agreement[order] / len(indices)),
            same=_to_tuples(part.same[order] / len(indices)),
        ),
        lengths=_analyse_lengths(scores, best, figures.turns[indices], figures.chars[indices], bootstrap),
    )


def _to_tuples(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.round(DIGITS).tolist())


def _analyse_lengths(
    scores: Mapping[str, Scores], best: Scores, turns: np.ndarray, chars: np.ndarray, bootstrap: Bootstrap
) -> Lengths:
    """Return the strategies' gains by dialogue length."""
    bins = length_bins(turns, chars)
    results = []
    for index, label in enumerate(bins.labels):
        in_bin = bins.indices == index
        gains = bootstrap.compare([(values - best)[in_bin] for values in scores.values()])
        results.append(LengthBin(label=label, n=int(in_bin.sum()), gains=dict(zip(scores, gains, strict=True))))
    return Lengths(by=bins.by, bins=tuple(results))
