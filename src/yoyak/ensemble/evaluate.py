"""Evaluating the pipeline's outputs: members, ensembles and baselines, on every split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from yoyak import project
from yoyak.behaviour.accuracy import measure_facts
from yoyak.behaviour.accuracy_results import FactAccuracy, write_fact_accuracy
from yoyak.data.facts import read_facts
from yoyak.data.records import Dialogue, read_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.ensemble.analysis import analyse
from yoyak.ensemble.info import INFO_FILE, EnsembleInfo
from yoyak.ensemble.splits import read_choices
from yoyak.files import atomic_path, read_result, write_json
from yoyak.params import Scoring
from yoyak.params.stages import EvaluateParams
from yoyak.scoring.baselines import extract_baseline
from yoyak.scoring.ensembles import EnsembleAnalysis
from yoyak.scoring.evaluation import Predictions, evaluate_systems, headline_metrics, write_evaluation

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineScores:
    """The results of `score_pipeline` that a run logs."""

    split_sizes: dict[str, int]
    """Number of dialogues per split."""
    best_member: str
    best_ensemble: str | None
    means: dict[str, dict[str, dict[str, float]]]
    """Mean scores by system, split and metric."""
    analysis: EnsembleAnalysis
    facts: dict[str, dict[str, float]]
    """Share of summaries that have every fact right, by system and split."""
    samples: list[dict[str, str]]

    def metrics(self) -> dict[str, float | None]:
        """Return all means as ``system/split/metric``, and the headline figures of the ensembles."""
        means = {
            f"{system}/{split}/{metric}": mean
            for system, splits in self.means.items()
            for split, metrics in splits.items()
            for metric, mean in metrics.items()
        }
        facts = {
            f"{system}/{split}/facts": share for system, splits in self.facts.items() for split, share in splits.items()
        }
        return {**means, **facts, **self.analysis.headline_metrics()}


def score_pipeline(p: EvaluateParams) -> PipelineScores:
    """Write evaluation/, metrics/scores/ and metrics/facts/ from predictions/ and ensembles/."""
    splits = {split: read_jsonl(path) for split, path in project.eval_splits().items()}
    strategies = p.ensemble.every
    candidates = {
        member: _read_splits(read_candidates, project.predictions_folder(member), splits) for member in p.members
    }
    choices = {name: _read_splits(read_choices, project.ensemble_folder(name), splits) for name in strategies}
    predictions = {
        member: {split: {fname: nbest[0].text for fname, nbest in rows.items()} for split, rows in by_split.items()}
        for member, by_split in candidates.items()
    }
    ensembles = {
        name: {split: {fname: choice.text for fname, choice in rows.items()} for split, rows in by_split.items()}
        for name, by_split in choices.items()
    }
    learned = {
        name: read_result(project.ensemble_folder(name) / INFO_FILE, EnsembleInfo, command=f"yoyak ensemble {name}")
        for name in p.ensemble.strategies
    }
    sampled = {name for name, member in p.members.items() if member.sample_size is not None}
    evaluation = evaluate_systems(splits, predictions, p.scoring, p.seed, ensembles, sampled)
    whole = {name: rows for name, rows in candidates.items() if name not in sampled}
    analysis = analyse(splits, evaluation, strategies, whole or candidates, choices, p.scoring, p.seed, learned)
    means = headline_metrics(evaluation.summary)
    accuracy = _measure_facts(splits, {**predictions, **ensembles}, evaluation.summary.best_baseline, p.scoring)
    facts = {system: accuracy.shares(system) for system in (*predictions, *ensembles)}
    with atomic_path(project.EVALUATION) as work:
        write_evaluation(evaluation, work, analysis)
        write_fact_accuracy(work / project.FACT_ACCURACY.name, accuracy)
    _write_metrics(project.SCORES, {system: _combined(by_split) for system, by_split in means.items()})
    _write_metrics(project.FACT_METRICS, facts)
    return PipelineScores(
        split_sizes={split: len(rows) for split, rows in splits.items()},
        best_member=evaluation.summary.best_member,
        best_ensemble=evaluation.summary.best_ensemble,
        means=means,
        analysis=analysis,
        facts=facts,
        samples=sample_rows(splits, {**predictions, **ensembles}, p.scoring.samples),
    )


def _measure_facts(
    splits: Mapping[str, Sequence[Dialogue]], predictions: Predictions, baseline: str, scoring: Scoring
) -> FactAccuracy:
    """Return the fact accuracy of all systems and a baseline, on every split but gate."""
    shown = {split: rows for split, rows in splits.items() if split != project.GATE}
    extracted = {
        split: {row.fname: extract_baseline(baseline, row.dialogue) for row in rows} for split, rows in shown.items()
    }
    systems = {**predictions, baseline: extracted}
    return measure_facts(shown, read_facts(project.FACTS), systems, scoring.confidence)


def _combined(by_split: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {split: metrics["combined"] for split, metrics in by_split.items()}


def _write_metrics(folder: Path, values: Mapping[str, Mapping[str, float]]) -> None:
    with atomic_path(folder) as work:
        for system, by_split in values.items():
            write_json(work / f"{system}.json", by_split)


def sample_rows(splits: Mapping[str, Sequence[Dialogue]], predictions: Predictions, count: int) -> list[dict[str, str]]:
    """Return a table of ``count`` dialogues, spread over the test sets, with the summaries of every system."""
    test_sets = {split: rows for split, rows in splits.items() if split not in (project.DEV, project.GATE)}
    rows = [(split, row) for split, dialogues in test_sets.items() for row in dialogues]
    count = min(count, len(rows))
    return [
        {
            "system": system,
            "fname": row.fname,
            "input": row.dialogue,
            "prediction": texts[split][row.fname],
            "reference": row.summaries[0],
        }
        for split, row in (rows[index * len(rows) // count] for index in range(count))
        for system, texts in predictions.items()
        if row.fname in texts[split]
    ]


def _read_splits(
    read: Callable[[Path], dict[str, Value]], folder: Path, splits: Iterable[str]
) -> dict[str, dict[str, Value]]:
    return {split: read(folder / f"{split}.jsonl") for split in splits}
