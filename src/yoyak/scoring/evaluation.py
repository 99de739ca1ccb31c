"""The evaluation of every system on every split: members, ensembles, extractive baselines and the extractive oracle.

`Evaluator` scores some dialogues at a time, `evaluate_systems` all of them. `write_evaluation` writes ``summary.json``
(read back by `results.read_evaluation`) and ``dialogues.csv``, `headline_metrics` returns the metrics that
``dvc metrics show`` prints. Everything is computed from texts: no model, no GPU, no network.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np

from yoyak.data.records import Dialogue, in_parts
from yoyak.errors import UserError
from yoyak.files import atomic_path
from yoyak.params import Scoring
from yoyak.project import DEV, GATE
from yoyak.scoring.baselines import BASELINES, extract_baseline, extract_oracle, split_turns
from yoyak.scoring.bootstrap import Interval, bootstrap_intervals, paired_bootstraps
from yoyak.scoring.ensembles import EnsembleAnalysis, write_analysis
from yoyak.scoring.metrics import COMPARED_METRICS, METRICS
from yoyak.scoring.resampling import resample_rows
from yoyak.scoring.results import (
    ALL,
    DIALOGUES_FILE,
    DIGITS,
    DialogueScores,
    EvaluationSummary,
    Part,
    PrimaryScore,
    SystemComparison,
    SystemKind,
    SystemScore,
    round_figures,
    write_dialogue_scores,
    write_summary,
)
from yoyak.scoring.rouge import PROTOCOLS, reference_scores
from yoyak.scoring.systems import (
    BEST_BASELINE,
    ORACLE,
    Predictions,
    check_predictions,
    check_splits,
    check_systems,
    index_parts,
)
from yoyak.scoring.table import ScoreTable

COMBINED = METRICS.index("combined")
MAX_PAIRED_MEMBERS = 9
"""With more members than this, each is compared only with the best one instead of with all others."""


WINDOW = 1000
"""Dialogues that are scored at once, which bounds the memory for any test set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `write_evaluation` writes."""

    summary: EvaluationSummary
    dialogues: Iterable[DialogueScores] = field(compare=False)
    """Made while they are iterated."""
    primary: Mapping[str, np.ndarray] = field(compare=False)
    """By system: the primary score of each dialogue, over all splits; NaN where it has no summary."""


def evaluate_systems(
    splits: Mapping[str, Collection[Dialogue]],
    predictions: Predictions,
    scoring: Scoring,
    seed: int,
    ensembles: Predictions | None = None,
    sampled: Collection[str] = (),
) -> Evaluation:
    """Score members (``predictions[member][split][fname]``), ensembles, baselines and oracle on every split and slice.

    Members in ``sampled`` need not have summarized every dialogue. They are scored on those that they have, and
    compared on those that both have. None of them is the best member as long as another one has summarized all of dev.

    Raises UserError under the conditions of `Evaluator`, and for a dialogue without a prediction.
    """
    ensembles = ensembles or {}
    evaluator = Evaluator(splits, list(predictions), list(ensembles), scoring, seed)
    check_predictions(splits, predictions, ensembles, sampled)
    systems = {**predictions, **ensembles}
    for split, rows in splits.items():
        for part in in_parts(rows, WINDOW):
            texts = {name: [by_split[split].get(row.fname) for row in part] for name, by_split in systems.items()}
            evaluator.add(split, part, texts)
    return evaluator.finish()


class Evaluator:
    """Scores systems on every split and slice, some dialogues at a time, and then compares them.

    The best system of each kind is the best on dev by the primary score: combined ROUGE at the first granularity with
    ``scoring.multi_reference``. Comparisons are paired: all pairs of members (the better one on dev first; with more
    than `MAX_PAIRED_MEMBERS`, only pairs with the best one), every member against the best baseline on the part and
    the best on dev, and every ensemble against the best member. On gate nothing is compared.
    """

    def __init__(
        self,
        splits: Mapping[str, Collection[Dialogue]],
        members: Sequence[str],
        ensembles: Sequence[str],
        scoring: Scoring,
        seed: int,
    ) -> None:
        """Prepare to score the dialogues of ``splits``, which may be read from files each time that they are iterated.

        Raises UserError for a split without dialogues, a dialogue without a reference, a name shared by two systems, or
        a missing dev split.
        """
        if not scoring.granularities:
            raise UserError("scoring.granularities is empty: name at least one; the first is used to select models.")
        check_systems(members, ensembles)
        check_splits(splits)
        self.scoring, self.splits = scoring, splits
        self.parts = index_parts(splits)
        self.kinds: dict[str, SystemKind] = {
            **dict.fromkeys(members, "member"),
            **dict.fromkeys(ensembles, "ensemble"),
            **dict.fromkeys(BASELINES, "baseline"),
            ORACLE: "oracle",
        }
        self.systems = list(self.kinds)
        sizes = {part.split: part.n for part in self.parts if part.slice == ALL}
        self._starts = dict(zip(sizes, np.cumsum([0, *sizes.values()]).tolist(), strict=False))
        self._added = dict.fromkeys(sizes, 0)
        self._sizes = sizes
        granularities = len(scoring.granularities)
        self._table = ScoreTable(len(self.systems), granularities, len(PROTOCOLS), len(METRICS), sum(sizes.values()))
        self._options = {"samples": scoring.bootstrap_samples, "confidence": scoring.confidence, "seed": seed}

    def add(self, split: str, rows: Sequence[Dialogue], texts: Mapping[str, Sequence[str | None]]) -> None:
        """Score the next dialogues of a split, given each member's and ensemble's summaries; None where it has none."""
        scores = _score_texts(_add_baselines(rows, texts, self.scoring), [row.summaries for row in rows], self.scoring)
        self._table.write(self._starts[split] + self._added[split], scores)
        self._added[split] += len(rows)

    def best(self, kind: SystemKind) -> str | None:
        """Return the best system of a kind on dev, all of which has to be added before."""
        return next((name for name in self._rank() if self.kinds[name] == kind), None)

    def finish(self) -> Evaluation:
        """Compare the systems, once all dialogues are added."""
        if self._added != self._sizes:
            raise ValueError(f"scored {self._added} of {self._sizes} dialogues")
        scoring, ranked = self.scoring, self._rank()
        best_member, best_baseline = self.best("member"), self.best("baseline")
        assert best_member is not None and best_baseline is not None
        summary = EvaluationSummary(
            primary=PrimaryScore(
                granularity=scoring.granularities[0], multi_reference=scoring.multi_reference, metric="combined"
            ),
            confidence=scoring.confidence,
            bootstrap_samples=scoring.bootstrap_samples,
            systems=self.kinds,
            parts=tuple(self.parts),
            scores=tuple(score for part, indices in self.parts.items() for score in self._score_part(part, indices)),
            comparisons=tuple(
                comparison
                for part, indices in self.parts.items()
                if part.split != GATE
                for comparison in self._compare_part(part, indices, ranked)
            ),
            best_member=best_member,
            best_ensemble=self.best("ensemble"),
            best_baseline=best_baseline,
        )
        return Evaluation(summary=summary, dialogues=_ScoredDialogues(self), primary=_PrimaryScores(self))

    def read_primary(self, system: str, metric: int = COMBINED, start: int = 0, end: int | None = None) -> np.ndarray:
        """Return a system's primary scores of some or all dialogues, by a metric."""
        protocol = PROTOCOLS.index(self.scoring.multi_reference)
        return self._table.read(self._table.row(self.systems.index(system), 0, protocol, metric), start, end)

    def _rank(self) -> list[str]:
        """Return the systems from best to worst by combined score on dev; ties keep their order.

        Those with a summary of every dialogue come first: the mean of a sample depends on which dialogues are in it.
        """
        start = self._starts[DEV]
        end = start + self._sizes[DEV]
        scores = np.array([self.read_primary(name, start=start, end=end) for name in self.systems])
        incomplete = np.isnan(scores).any(axis=1)
        return [self.systems[index] for index in np.lexsort((-np.nanmean(scores, axis=1), incomplete))]

    def _score_part(self, part: Part, indices: np.ndarray) -> Iterator[SystemScore]:
        shape = self._table.shape
        results = resample_rows(
            lambda row: self._table.read(row)[indices], math.prod(shape), part.n, bootstrap_intervals, self._options
        )
        for (system, granularity, protocol, metric), interval in zip(np.ndindex(shape), results, strict=True):
            if interval is None:
                continue
            yield SystemScore(
                system=self.systems[system],
                part=part,
                granularity=self.scoring.granularities[granularity],
                multi_reference=PROTOCOLS[protocol],
                metric=METRICS[metric],
                interval=round_figures(interval),
            )

    def _compare_part(self, part: Part, indices: np.ndarray, ranked: list[str]) -> Iterator[SystemComparison]:
        members = [name for name in ranked if self.kinds[name] == "member"]
        best_on_dev = next(name for name in ranked if name in BASELINES)
        best_on_part = max(BASELINES, key=lambda name: self.read_primary(name)[indices].mean())
        pairs = [
            *(pair for pair in combinations(members, 2) if len(members) <= MAX_PAIRED_MEMBERS or members[0] in pair),
            *((name, members[0]) for name in ranked if self.kinds[name] == "ensemble"),
            *((member, other) for member in members for other in dict.fromkeys([best_on_part, best_on_dev])),
        ]
        rows = [(system, against, metric) for system, against in pairs for metric in COMPARED_METRICS]

        def difference(row: int) -> np.ndarray:
            system, against, metric = rows[row]
            column = METRICS.index(metric)
            return (self.read_primary(system, column) - self.read_primary(against, column))[indices]

        results = resample_rows(difference, len(rows), part.n, paired_bootstraps, self._options)
        for (system, against, metric), exact in zip(rows, results, strict=True):
            if exact is None:
                continue
            result = round_figures(exact)
            yield SystemComparison(
                system=system,
                against=against,
                part=part,
                metric=metric,
                gain=Interval(mean=result.difference, low=result.low, high=result.high, n=result.n),
                p_value=result.p_value,
            )


@dataclass(frozen=True, slots=True)
class _PrimaryScores(Mapping[str, np.ndarray]):
    """The primary score of each dialogue, read when a system is asked for."""

    evaluator: Evaluator

    def __getitem__(self, system: str) -> np.ndarray:
        return self.evaluator.read_primary(system)

    def __iter__(self) -> Iterator[str]:
        return iter(self.evaluator.systems)

    def __len__(self) -> int:
        return len(self.evaluator.systems)


@dataclass(frozen=True, slots=True)
class _ScoredDialogues:
    """The rows of dialogues.csv."""

    evaluator: Evaluator

    def __iter__(self) -> Iterator[DialogueScores]:
        start = 0
        for split, dialogues in self.evaluator.splits.items():
            for rows in in_parts(dialogues, WINDOW):
                yield from self._of_rows(split, rows, start)
                start += len(rows)

    def _of_rows(self, split: str, rows: Sequence[Dialogue], start: int) -> Iterator[DialogueScores]:
        systems, end = self.evaluator.systems, start + len(rows)
        primary = np.array(
            [
                [self.evaluator.read_primary(system, metric, start, end) for system in systems]
                for metric in range(len(METRICS))
            ]
        )
        for number, row in enumerate(rows):
            metadata = (split, row.fname, row.slice, row.topic, len(split_turns(row.dialogue)), len(row.dialogue))
            for index, system in enumerate(systems):
                if np.isnan(primary[COMBINED, index, number]):
                    continue
                scores = tuple(round(float(value), DIGITS) for value in primary[:, index, number])
                yield DialogueScores(*metadata, system, scores)


def write_evaluation(
    evaluation: Evaluation, folder: str | os.PathLike[str], analysis: EnsembleAnalysis | None = None
) -> None:
    """Write summary.json, dialogues.csv and ensembles.json into ``folder``, replacing all its contents."""
    with atomic_path(folder) as work:
        work.mkdir()
        write_summary(evaluation.summary, work)
        if analysis is not None:
            write_analysis(analysis, work)
        write_dialogue_scores(evaluation.dialogues, work / DIALOGUES_FILE)


def headline_metrics(summary: EvaluationSummary) -> dict[str, dict[str, dict[str, float]]]:
    """Return {system: {split: {metric: mean}}} of members, ensembles and ``best_baseline``, by the primary score.

    Gate is left out: whoever sees its scores next to those of dev and test would select by them.
    """
    names = {name: name for name, kind in summary.systems.items() if kind in ("member", "ensemble")}
    return {
        shown: {split: means for split, means in summary.primary_means(name).items() if split != GATE}
        for shown, name in {**names, BEST_BASELINE: summary.best_baseline}.items()
    }


def _add_baselines(
    rows: Sequence[Dialogue], texts: Mapping[str, Sequence[str | None]], scoring: Scoring
) -> dict[str, Sequence[str | None]]:
    """Return the summaries of all systems, baselines and oracle included; None where a system has none."""
    oracle = extract_oracle(
        [row.dialogue for row in rows],
        [row.summaries for row in rows],
        granularity=scoring.granularities[0],
        multi_reference=scoring.multi_reference,
        weights=scoring.weights,
    )
    baselines = {name: [extract_baseline(name, row.dialogue) for row in rows] for name in BASELINES}
    return {**texts, **baselines, ORACLE: oracle}


def _score_texts(
    texts: Mapping[str, Sequence[str | None]], references: list[tuple[str, ...]], scoring: Scoring
) -> np.ndarray:
    """Return F1 as [system, granularity, protocol, metric, dialogue]; NaN where there is no summary."""
    table = np.empty((len(texts), len(scoring.granularities), len(PROTOCOLS), len(METRICS), len(references)))
    # Summaries of the same dialogue are scored consecutively, so that its references' n-grams are still cached.
    pairs = [(dialogue, text or "") for dialogue, row in enumerate(zip(*texts.values(), strict=True)) for text in row]
    unique = {pair: index for index, pair in enumerate(dict.fromkeys(pairs))}
    restore = [unique[pair] for pair in pairs]
    for row, granularity in enumerate(scoring.granularities):
        scores = reference_scores(
            [text for _, text in unique],
            [references[dialogue] for dialogue, _ in unique],
            granularity=granularity,
            weights=scoring.weights,
            processes=scoring.processes,
        )
        for column, protocol in enumerate(PROTOCOLS):
            values = scores.reduce(protocol)[restore].reshape(len(references), len(texts), len(METRICS))
            table[:, row, column] = values.transpose(1, 2, 0)
    for system, row_texts in enumerate(texts.values()):
        table[system][..., [text is None for text in row_texts]] = np.nan
    return table
