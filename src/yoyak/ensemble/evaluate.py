"""Evaluating the pipeline's outputs: members, ensembles and baselines, on every split."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from yoyak import project
from yoyak.behaviour.accuracy import FactCounter
from yoyak.behaviour.accuracy_results import write_fact_accuracy
from yoyak.data.facts import read_facts
from yoyak.data.records import Dialogue, DialogueFile, in_parts
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.analysis import Analyser
from yoyak.ensemble.info import INFO_FILE, EnsembleInfo
from yoyak.ensemble.pool import PredictionFile, open_rows
from yoyak.ensemble.splits import Choice, ChoiceFile
from yoyak.files import atomic_path, read_result, write_json
from yoyak.params.stages import EvaluateParams
from yoyak.scoring.baselines import extract_baseline
from yoyak.scoring.ensembles import EnsembleAnalysis
from yoyak.scoring.evaluation import WINDOW, Evaluator, headline_metrics, write_evaluation
from yoyak.scoring.rouge import scoring_processes


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
    """Write evaluation/, metrics/scores/ and metrics/facts/ from predictions/ and ensembles/.

    Dialogues are read, scored and let go, `WINDOW` at a time; what is computed of one is so while its tokens are known.
    """
    splits = {split: DialogueFile(path) for split, path in project.eval_splits().items()}
    members, strategies = list(p.members), p.ensemble.every
    learned = {
        name: read_result(project.ensemble_folder(name) / INFO_FILE, EnsembleInfo, command=f"yoyak ensemble {name}")
        for name in p.ensemble.strategies
    }
    sampled = {name for name, member in p.members.items() if member.sample_size is not None}
    evaluator = Evaluator(splits, members, list(strategies), p.scoring, p.seed)
    analyser = Analyser([name for name in members if name not in sampled] or members, list(strategies), p.scoring)
    samples = _Samples(splits, p.scoring.samples)

    def windows(split: str) -> Iterator[_Window]:
        return _read_windows(split, splits[split], members, list(strategies), sampled)

    with scoring_processes(p.scoring.processes):
        # Which baseline is best decides about which of them facts are counted.
        for window in windows(project.DEV):
            evaluator.add(window.split, window.rows, window.texts)
        baseline = evaluator.best("baseline")
        assert baseline is not None
        shown = [split for split in splits if split != project.GATE]
        counter = FactCounter(read_facts(project.FACTS), [*members, *strategies, baseline], shown)
        for split in splits:
            for window in windows(split):
                if split != project.DEV:
                    evaluator.add(split, window.rows, window.texts)
                analyser.add(split, window.rows, window.candidates, window.choices)
                if split != project.GATE:
                    extracted = [extract_baseline(baseline, row.dialogue) for row in window.rows]
                    counter.add(split, window.rows, {**window.texts, baseline: extracted})
                samples.add(split, window.rows, window.texts)
    evaluation = evaluator.finish()
    analysis = analyser.finish(evaluation, strategies, p.seed, learned)
    accuracy = counter.finish(p.scoring.confidence)
    means = headline_metrics(evaluation.summary)
    facts = {system: accuracy.shares(system) for system in (*members, *strategies)}
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
        samples=samples.rows,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Some dialogues of a split, and what was written of them."""

    split: str
    rows: list[Dialogue]
    candidates: dict[str, list[list[Candidate] | None]]
    """By member; None for a dialogue that is not in its sample."""
    choices: dict[str, list[Choice | None]]
    """By ensemble; all are there."""

    @property
    def texts(self) -> dict[str, list[str | None]]:
        """The summaries of members and ensembles."""
        return {
            **{name: [nbest[0].text if nbest else None for nbest in of] for name, of in self.candidates.items()},
            **{name: [choice.text if choice else None for choice in of] for name, of in self.choices.items()},
        }


def _read_windows(
    split: str, rows: DialogueFile, members: Sequence[str], ensembles: Sequence[str], sampled: Collection[str]
) -> Iterator[_Window]:
    """Yield the dialogues of a split, `WINDOW` at a time, with what was written of them.

    Raises UserError if an ensemble, or a member that is not in ``sampled``, has no summary of one.
    """
    with ExitStack() as stack:
        predictions = {}
        for name in members:
            who, path = f"member '{name}'", project.predictions_folder(name) / f"{split}.jsonl"
            predictions[name] = PredictionFile(who, path, stack.enter_context(open_rows(who, path)))
        ensembled = {}
        for name in ensembles:
            who, path = f"ensemble '{name}'", project.ensemble_folder(name) / f"{split}.jsonl"
            ensembled[name] = ChoiceFile(who, path, stack.enter_context(open_rows(who, path)))
        for part in in_parts(rows, WINDOW):
            yield _Window(
                split=split,
                rows=part,
                candidates={
                    name: [file.find_any(row.fname) if name in sampled else file.find(row.fname) for row in part]
                    for name, file in predictions.items()
                },
                choices={name: [file.find(row.fname) for row in part] for name, file in ensembled.items()},
            )


def _combined(by_split: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {split: metrics["combined"] for split, metrics in by_split.items()}


def _write_metrics(folder: Path, values: Mapping[str, Mapping[str, float]]) -> None:
    with atomic_path(folder) as work:
        for system, by_split in values.items():
            write_json(work / f"{system}.json", by_split)


class _Samples:
    """A table of some dialogues, spread over the test sets, with the summaries of every system."""

    def __init__(self, splits: Mapping[str, Collection[Dialogue]], count: int) -> None:
        sizes = {split: len(rows) for split, rows in splits.items() if split not in (project.DEV, project.GATE)}
        total = sum(sizes.values())
        count = min(count, total)
        self.rows: list[dict[str, str]] = []
        self._chosen = {index * total // count for index in range(count)}
        self._sizes = sizes
        self._seen = 0

    def add(self, split: str, rows: Sequence[Dialogue], texts: Mapping[str, Sequence[str | None]]) -> None:
        """Add those of the next dialogues that are chosen."""
        if split not in self._sizes:
            return
        for index, row in enumerate(rows):
            if self._seen + index in self._chosen:
                self.rows += [
                    {
                        "system": system,
                        "fname": row.fname,
                        "input": row.dialogue,
                        "prediction": text,
                        "reference": row.summaries[0],
                    }
                    for system, of in texts.items()
                    if (text := of[index]) is not None
                ]
        self._seen += len(rows)
