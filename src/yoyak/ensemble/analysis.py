"""Ensemble analysis: the gain over the best member, each member's contribution, and the headroom.

`analyse` computes evaluation/ensembles.json. All figures use the primary score (combined ROUGE at the first
granularity, with the multi-reference protocol of params.yaml), for every split and slice but gate, which nobody should
compare ensembles on:

- ``gain``: the score of a strategy minus that of the best member on dev, paired.
- ``contributions``: ``change`` is the score of a strategy with all its members minus its score without this one,
  paired (null if it was not run without it); ``share`` is the share of summaries that the member wrote,
  ``of_several`` that of summaries that combine text of several members.
- ``agreement``: the mean ROUGE between the summaries of each pair of members, and the share of identical ones.
- ``oracle``: the best candidate of all members for each dialogue, chosen by the references; ``headroom`` is its gain
  over the best member, ``captured`` is the share of it that a strategy gains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.conclusion import write_conclusion
from yoyak.ensemble.info import EnsembleInfo
from yoyak.ensemble.splits import Choice
from yoyak.ensemble.utility import rouge_matrix
from yoyak.params import Scoring
from yoyak.params.ensemble import Strategy
from yoyak.project import DEV, GATE
from yoyak.scoring.baselines import split_turns
from yoyak.scoring.bins import length_bins
from yoyak.scoring.bootstrap import Comparison, Interval, bootstrap_intervals, paired_bootstraps
from yoyak.scoring.ensembles import (
    Agreement,
    Contribution,
    EnsembleAnalysis,
    LengthBin,
    Lengths,
    PartAnalysis,
    StrategyInfo,
    StrategyResult,
)
from yoyak.scoring.evaluation import Evaluation, index_parts
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import DIGITS, round_figures
from yoyak.scoring.rouge import reference_scores
from yoyak.scoring.tokenize import tokenizer

Scores = np.ndarray
"""[dialogues of all splits]: the primary score."""
Candidates = Mapping[str, Mapping[str, Mapping[str, Sequence[Candidate]]]]
"""By member, split and fname, best first."""
Choices = Mapping[str, Mapping[str, Mapping[str, Choice]]]
"""By ensemble, split and fname."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _DialogueFigures:
    """All figures per dialogue, before averaging over parts of the data."""

    best_member: Scores
    oracle: Scores
    strategies: Mapping[str, Scores]
    without: Mapping[tuple[str, str], Scores]
    """By strategy and excluded member."""
    writers: Mapping[str, Sequence[str]]
    """By strategy: the member that wrote each summary, empty if it combines text of several."""
    agreement: np.ndarray
    """[dialogues, members, members]: ROUGE between the members' own summaries."""
    same: np.ndarray
    """[dialogues, members, members]: whether they are the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bootstrap:
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


def analyse(
    splits: Mapping[str, Sequence[Dialogue]],
    evaluation: Evaluation,
    strategies: Mapping[str, Strategy],
    candidates: Candidates,
    choices: Choices,
    scoring: Scoring,
    seed: int,
    learned: Mapping[str, EnsembleInfo] | None = None,
) -> EnsembleAnalysis:
    """Return the analysis of all ensembles on every split and slice but gate.

    Dialogues without candidates of some member are left out: where no member has summarized more than a sample.

    Args:
        splits: The dialogues that ``evaluation`` scored.
        strategies: The ensembles' params by name; there may be none.
        candidates: The candidates of all members that an ensemble may use.
        choices: The choices of all ensembles.
        learned: What is known of strategies over candidates, by name.
    """
    summary = evaluation.summary
    common = {
        split: {row.fname for row in rows}.intersection(*(by_split[split] for by_split in candidates.values()))
        for split, rows in splits.items()
        if split != GATE
    }
    shown = [split in common and row.fname in common[split] for split, rows in splits.items() for row in rows]
    primary = {name: scores[shown] for name, scores in evaluation.primary.items()}
    splits = {
        split: kept
        for split, rows in splits.items()
        if split in common and (kept := [row for row in rows if row.fname in common[split]])
    }
    dev = next(indices for part, indices in index_parts(splits).items() if part.split == DEV)

    def rank(names: Iterable[str]) -> list[str]:
        return sorted(names, key=lambda name: -float(primary[name][dev].mean()))

    candidates = {member: candidates[member] for member in rank(candidates)}
    choices = {name: choices[name] for name in rank(choices)}
    infos = {name: _describe(strategies[name], list(candidates), (learned or {}).get(name)) for name in choices}
    figures = _compute_figures(splits, primary, summary.best_member, candidates, choices, scoring)
    bootstrap = _Bootstrap(samples=scoring.bootstrap_samples, confidence=scoring.confidence, seed=seed)
    rows = [row for split in splits.values() for row in split]
    parts: dict[str, dict[str, PartAnalysis]] = {name: {} for name in splits}
    for part, indices in index_parts(splits).items():
        part_rows = [rows[index] for index in indices]
        parts[part.split][part.slice] = _analyse_part(figures, indices, infos, part_rows, bootstrap)
    return EnsembleAnalysis(
        primary=summary.primary,
        confidence=scoring.confidence,
        best_member=summary.best_member,
        best_ensemble=summary.best_ensemble,
        conclusion=write_conclusion(parts, infos, summary.best_member, summary.best_ensemble, scoring.confidence),
        members=tuple(candidates),
        strategies=infos,
        splits=parts,
    )


def _describe(strategy: Strategy, all_members: Sequence[str], learned: EnsembleInfo | None) -> StrategyInfo:
    members = tuple(strategy.members or all_members)
    return StrategyInfo(
        type=getattr(strategy, "type", ""),
        members=members,
        pass_through=len(members) == 1,
        reranker=learned.reranker if learned else None,
        choice=learned.choice if learned else None,
    )


def _compute_figures(
    splits: Mapping[str, Sequence[Dialogue]],
    primary: Mapping[str, Scores],
    best_member: str,
    candidates: Candidates,
    choices: Choices,
    scoring: Scoring,
) -> _DialogueFigures:
    """Return the figures of every dialogue."""
    rows = [(split, row) for split, rows in splits.items() for row in rows]
    nbests = [[candidates[member][split][row.fname] for member in candidates] for split, row in rows]
    chosen = {name: [by_split[split][row.fname] for split, row in rows] for name, by_split in choices.items()}
    pools = [dict.fromkeys(candidate.text for nbest in row for candidate in nbest) for row in nbests]
    texts = [
        pool | dict.fromkeys(text for row_choices in chosen.values() for text in row_choices[index].without.values())
        for index, pool in enumerate(pools)
    ]
    scores = _score_texts(texts, [row.summaries for _, row in rows], scoring)
    without = {
        (name, member): np.array(
            [by_text[choice.without[member]] for by_text, choice in zip(scores, row_choices, strict=True)]
        )
        for name, row_choices in chosen.items()
        for member in row_choices[0].without
    }
    agreement, same = _compare_members([[nbest[0].text for nbest in row] for row in nbests], scoring)
    return _DialogueFigures(
        best_member=primary[best_member],
        oracle=np.array([max(by_text[text] for text in pool) for by_text, pool in zip(scores, pools, strict=True)]),
        strategies={name: primary[name] for name in choices},
        without=without,
        writers={name: [choice.member for choice in row_choices] for name, row_choices in chosen.items()},
        agreement=agreement,
        same=same,
    )


def _score_texts(
    texts: Sequence[Mapping[str, None]], references: Sequence[Sequence[str]], scoring: Scoring
) -> list[dict[str, float]]:
    """Return the primary score of each text of each dialogue."""
    scores = reference_scores(
        [text for row in texts for text in row],
        [row_references for row, row_references in zip(texts, references, strict=True) for _ in row],
        granularity=scoring.granularities[0],
        weights=scoring.weights,
        processes=scoring.processes,
    ).reduce(scoring.multi_reference)[:, METRICS.index("combined")]
    values = iter(scores.tolist())
    return [{text: next(values) for text in row} for row in texts]


def _compare_members(summaries: Sequence[Sequence[str]], scoring: Scoring) -> tuple[np.ndarray, np.ndarray]:
    """Return [dialogues, members, members]: the ROUGE between their summaries, and whether they are the same."""
    units = tokenizer(scoring.granularities[0])
    agreement, same = [], []
    for row in summaries:
        distinct = list(dict.fromkeys(row))
        indices = np.array([distinct.index(text) for text in row])
        matrix = rouge_matrix(units.tokenize_all(distinct), scoring.weights)
        # A text always agrees with itself, even one without tokens.
        np.fill_diagonal(matrix, 1.0)
        agreement.append(matrix[np.ix_(indices, indices)])
        same.append(indices[:, None] == indices[None])
    return np.array(agreement), np.array(same)


def _analyse_part(
    figures: _DialogueFigures,
    indices: np.ndarray,
    infos: Mapping[str, StrategyInfo],
    rows: Sequence[Dialogue],
    bootstrap: _Bootstrap,
) -> PartAnalysis:
    """Return the analysis of the dialogues at ``indices``, which are ``rows``."""
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
        written = Counter(figures.writers[name][index] for index in indices)
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
    return PartAnalysis(
        n=len(indices),
        best_member=best_interval,
        oracle=oracle_interval,
        headroom=headroom,
        strategies=results,
        agreement=Agreement(
            rouge=_to_tuples(figures.agreement[indices].mean(axis=0)),
            same=_to_tuples(figures.same[indices].mean(axis=0)),
        ),
        lengths=_analyse_lengths(scores, best, rows, bootstrap),
    )


def _to_tuples(matrix: np.ndarray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in matrix.round(DIGITS).tolist())


def _analyse_lengths(
    scores: Mapping[str, Scores], best: Scores, rows: Sequence[Dialogue], bootstrap: _Bootstrap
) -> Lengths:
    """Return the strategies' gains by dialogue length."""
    bins = length_bins([len(split_turns(row.dialogue)) for row in rows], [len(row.dialogue) for row in rows])
    results = []
    for index, label in enumerate(bins.labels):
        in_bin = bins.indices == index
        gains = bootstrap.compare([(values - best)[in_bin] for values in scores.values()])
        results.append(LengthBin(label=label, n=int(in_bin.sum()), gains=dict(zip(scores, gains, strict=True))))
    return Lengths(by=bins.by, bins=tuple(results))
