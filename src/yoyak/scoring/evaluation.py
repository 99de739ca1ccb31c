"""The evaluation of every system on every split: members, ensembles, extractive baselines and the extractive oracle.

`evaluate_systems` scores, `write_evaluation` writes ``summary.json`` (read back by `results.read_evaluation`) and
``dialogues.csv``, `headline_metrics` returns the metrics that ``dvc metrics show`` prints. Everything is computed
from texts: no model, no GPU, no network.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from yoyak.data.records import Dialogue
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path
from yoyak.params import Scoring
from yoyak.project import DEV, GATE
from yoyak.scoring.baselines import BASELINES, extract_baseline, extract_oracle, split_turns
from yoyak.scoring.bootstrap import Interval, bootstrap_intervals, paired_bootstraps
from yoyak.scoring.ensembles import EnsembleAnalysis, write_analysis
from yoyak.scoring.metrics import COMPARED_METRICS, METRICS
from yoyak.scoring.results import (
    ALL,
    DIALOGUES_FILE,
    DIGITS,
    DialogueScores,
    EvaluationSummary,
    Figures,
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

Predictions = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Summaries by system, split and fname."""

ORACLE = "oracle"
BEST_BASELINE = "best_baseline"
COMBINED = METRICS.index("combined")
MAX_PAIRED_MEMBERS = 9
"""With more members than this, each is compared only with the best one instead of with all others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `write_evaluation` writes."""

    summary: EvaluationSummary
    dialogues: list[DialogueScores]
    primary: dict[str, np.ndarray] = field(compare=False)
    """By system: the primary score of each dialogue, over all splits; NaN where it has no summary."""


def evaluate_systems(
    splits: Mapping[str, Sequence[Dialogue]],
    predictions: Predictions,
    scoring: Scoring,
    seed: int,
    ensembles: Predictions | None = None,
    sampled: Collection[str] = (),
) -> Evaluation:
    """Score members (``predictions[member][split][fname]``), ensembles, baselines and oracle on every split and slice.

    The best system of each kind is the best on dev by the primary score: combined ROUGE at the first granularity with
    ``scoring.multi_reference``. Comparisons are paired: all pairs of members (the better one on dev first; with more
    than `MAX_PAIRED_MEMBERS`, only pairs with the best one), every member against the best baseline on the part and
    the best on dev, and every ensemble against the best member. On gate nothing is compared.

    Members in ``sampled`` need not have summarized every dialogue. They are scored on those that they have, and
    compared on those that both have. None of them is the best member as long as another one has summarized all of dev.

    Raises UserError for a split without dialogues, a dialogue without a reference or prediction, a name shared by two
    systems, or a missing dev split.
    """
    ensembles = ensembles or {}
    if not scoring.granularities:
        raise UserError("scoring.granularities is empty: name at least one; the first is used to select models.")
    _check_inputs(splits, predictions, ensembles, sampled)
    rows = [row for split in splits.values() for row in split]
    parts = index_parts(splits)
    texts = _collect_texts(splits, {**predictions, **ensembles}, scoring)
    table = _score_texts(texts, [row.summaries for row in rows], scoring)
    primary = table[0, PROTOCOLS.index(scoring.multi_reference)]
    kinds: dict[str, SystemKind] = {
        **dict.fromkeys(predictions, "member"),
        **dict.fromkeys(ensembles, "ensemble"),
        **dict.fromkeys(BASELINES, "baseline"),
        ORACLE: "oracle",
    }
    ranked = _rank_on_dev(primary, parts, list(texts))

    def best(kind: SystemKind) -> str | None:
        return next((name for name in ranked if kinds[name] == kind), None)

    best_member, best_baseline = best("member"), best("baseline")
    assert best_member is not None and best_baseline is not None
    options = {"samples": scoring.bootstrap_samples, "confidence": scoring.confidence, "seed": seed}
    summary = EvaluationSummary(
        primary=PrimaryScore(
            granularity=scoring.granularities[0], multi_reference=scoring.multi_reference, metric="combined"
        ),
        confidence=scoring.confidence,
        bootstrap_samples=scoring.bootstrap_samples,
        systems={name: kinds[name] for name in texts},
        parts=tuple(parts),
        scores=tuple(
            score
            for part, indices in parts.items()
            for score in _score_part(table[..., indices], part, list(texts), scoring, options)
        ),
        comparisons=tuple(
            comparison
            for part, indices in parts.items()
            if part.split != GATE
            for comparison in _compare_part(primary[..., indices], part, kinds, ranked, options)
        ),
        best_member=best_member,
        best_ensemble=best("ensemble"),
        best_baseline=best_baseline,
    )
    return Evaluation(
        summary=summary,
        dialogues=list(_score_dialogues(splits, primary, list(texts))),
        primary=dict(zip(texts, primary[COMBINED], strict=True)),
    )


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


def _check_inputs(
    splits: Mapping[str, Sequence[Dialogue]], members: Predictions, ensembles: Predictions, sampled: Collection[str]
) -> None:
    if not members:
        raise UserError("There are no members to evaluate: at least one must have predictions.")
    if DEV not in splits:
        raise UserError(f"The evaluation needs a split named '{DEV}', on which the best member is selected.")
    for split, rows in splits.items():
        if not rows:
            raise UserError(f"Split '{split}' has no dialogues to score.")
        for row in rows:
            if not row.summaries:
                raise UserError(f"Dialogue '{row.fname}' of split '{split}' has no reference summary.")
            if row.slice == ALL:
                raise UserError(f"Dialogue '{row.fname}' of split '{split}': a slice may not be named '{ALL}'.")
    for kind, systems in (("Member", members), ("Ensemble", ensembles)):
        for name, parts in systems.items():
            if name in (*BASELINES, ORACLE, BEST_BASELINE):
                raise UserError(f"{kind} '{name}' needs another name: this one is reserved for a baseline.")
            if kind == "Ensemble" and name in members:
                raise UserError(f"Ensemble '{name}' needs another name: a member already has this one.")
            for split, rows in splits.items():
                if split not in parts:
                    raise UserError(f"{kind} '{name}' has no predictions for split '{split}'{nearest(split, parts)}.")
                missing = next((row.fname for row in rows if row.fname not in parts[split]), None)
                if missing is not None and (name not in sampled or not parts[split]):
                    raise UserError(f"{kind} '{name}' has no prediction for dialogue '{missing}' of split '{split}'.")


def index_parts(splits: Mapping[str, Sequence[Dialogue]]) -> dict[Part, np.ndarray]:
    """Return every split (slice `ALL`) and each of its slices, with the indices of their dialogues.

    Indices refer to the concatenated dialogues of all splits.
    """
    parts: dict[Part, np.ndarray] = {}
    start = 0
    for split, rows in splits.items():
        parts[Part(split=split, slice=ALL, n=len(rows))] = np.arange(start, start + len(rows))
        for name in sorted({row.slice for row in rows} - {""}):
            indices = [start + index for index, row in enumerate(rows) if row.slice == name]
            parts[Part(split=split, slice=name, n=len(indices))] = np.array(indices)
        start += len(rows)
    return parts


def _collect_texts(
    splits: Mapping[str, Sequence[Dialogue]], predictions: Predictions, scoring: Scoring
) -> dict[str, list[str | None]]:
    """Return the summaries of all systems, baselines and oracle included, for the dialogues of all splits.

    None where a system has none.
    """
    rows = [row for split in splits.values() for row in split]
    texts: dict[str, list[str | None]] = {
        name: [parts[split].get(row.fname) for split, rows in splits.items() for row in rows]
        for name, parts in predictions.items()
    }
    for name in BASELINES:
        texts[name] = [extract_baseline(name, row.dialogue) for row in rows]
    oracle = extract_oracle(
        [row.dialogue for row in rows],
        [row.summaries for row in rows],
        granularity=scoring.granularities[0],
        multi_reference=scoring.multi_reference,
        weights=scoring.weights,
    )
    return {**texts, ORACLE: list(oracle)}


def _score_texts(
    texts: Mapping[str, list[str | None]], references: list[tuple[str, ...]], scoring: Scoring
) -> np.ndarray:
    """Return F1 as [granularity, protocol, metric, system, dialogue]; NaN where there is no summary."""
    table = np.empty((len(scoring.granularities), len(PROTOCOLS), len(METRICS), len(texts), len(references)))
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
            table[row, column] = values.transpose(2, 1, 0)
    table[..., np.array([[text is None for text in row] for row in texts.values()])] = np.nan
    return table


def _rank_on_dev(primary: np.ndarray, parts: Mapping[Part, np.ndarray], systems: list[str]) -> list[str]:
    """Return the systems from best to worst by combined score on dev; ties keep their order.

    Those with a summary of every dialogue come first: the mean of a sample depends on which dialogues are in it.
    """
    dev = next(indices for part, indices in parts.items() if part.split == DEV and part.slice == ALL)
    scores = primary[COMBINED][:, dev]
    incomplete = np.isnan(scores).any(axis=1)
    return [systems[index] for index in np.lexsort((-np.nanmean(scores, axis=1), incomplete))]


def _score_part(
    table: np.ndarray, part: Part, systems: list[str], scoring: Scoring, options: dict[str, Any]
) -> Iterator[SystemScore]:
    values = np.moveaxis(table, 3, 0)
    shape = values.shape[:-1]
    results = _for_each_set(values.reshape(-1, part.n), bootstrap_intervals, options)
    for (system, granularity, protocol, metric), interval in zip(np.ndindex(shape), results, strict=True):
        if interval is None:
            continue
        yield SystemScore(
            system=systems[system],
            part=part,
            granularity=scoring.granularities[granularity],
            multi_reference=PROTOCOLS[protocol],
            metric=METRICS[metric],
            interval=round_figures(interval),
        )


def _compare_part(
    primary: np.ndarray, part: Part, kinds: Mapping[str, SystemKind], ranked: list[str], options: dict[str, Any]
) -> Iterator[SystemComparison]:
    values = {name: primary[:, index] for index, name in enumerate(kinds)}
    members = [name for name in ranked if kinds[name] == "member"]
    best_on_dev = next(name for name in ranked if name in BASELINES)
    best_on_part = max(BASELINES, key=lambda name: values[name][COMBINED].mean())
    pairs = [
        *(pair for pair in combinations(members, 2) if len(members) <= MAX_PAIRED_MEMBERS or members[0] in pair),
        *((name, members[0]) for name in ranked if kinds[name] == "ensemble"),
        *((member, other) for member in members for other in dict.fromkeys([best_on_part, best_on_dev])),
    ]
    rows = [(system, against, metric) for system, against in pairs for metric in COMPARED_METRICS]
    differences = [
        values[system][METRICS.index(metric)] - values[against][METRICS.index(metric)]
        for system, against, metric in rows
    ]
    if not differences:
        return
    results = _for_each_set(np.array(differences), paired_bootstraps, options)
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


def _for_each_set(
    rows: np.ndarray, resample: Callable[..., list[Figures]], options: Mapping[str, Any]
) -> list[Figures | None]:
    """Return what ``resample`` makes of each row [rows, dialogues] without its NaN; None of a row of nothing else.

    Rows that have a value for the same dialogues are resampled together, by the same draws.
    """
    known = ~np.isnan(rows)
    sets: dict[bytes, list[int]] = {}
    for index, mask in enumerate(known):
        sets.setdefault(mask.tobytes(), []).append(index)
    results: list[Figures | None] = [None] * len(rows)
    for indices in sets.values():
        mask = known[indices[0]]
        if mask.any():
            for index, result in zip(indices, resample(rows[indices][:, mask], **options), strict=True):
                results[index] = result
    return results


def _score_dialogues(
    splits: Mapping[str, Sequence[Dialogue]], primary: np.ndarray, systems: list[str]
) -> Iterator[DialogueScores]:
    rows = [(split, row) for split, rows in splits.items() for row in rows]
    for dialogue, (split, row) in enumerate(rows):
        metadata = (split, row.fname, row.slice, row.topic, len(split_turns(row.dialogue)), len(row.dialogue))
        for index, system in enumerate(systems):
            if np.isnan(primary[COMBINED, index, dialogue]):
                continue
            scores = tuple(round(float(value), DIGITS) for value in primary[:, index, dialogue])
            yield DialogueScores(*metadata, system, scores)
