"""yoyak evaluate: score members, ensembles and extractive baselines."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak import params, project
from yoyak.files import atomic_path, write_json, write_text
from yoyak.params.stages import EvaluateParams
from yoyak.tracking import lineage, runs

if TYPE_CHECKING:
    from yoyak.data.records import Dialogue
    from yoyak.params import Scoring
    from yoyak.params.ensemble import Strategy
    from yoyak.scoring.ensembles import EnsembleAnalysis
    from yoyak.scoring.evaluation import Predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """What is logged of an evaluation; its files are written."""

    sizes: dict[str, int]
    """Dialogues of each split."""
    best_member: str
    metrics: dict[str, dict[str, dict[str, float]]]
    analysis: EnsembleAnalysis
    samples: list[dict[str, str]]


def run() -> None:
    """Write evaluation/ and metrics/scores/ from predictions/ and ensembles/, and log them as a run in MLflow."""
    p = params.load(EvaluateParams)
    folders = [project.predictions_folder(member) for member in p.members]
    folders += [project.ensemble_folder(name) for name in p.ensemble.every]
    inputs = lineage.digests([project.EVAL_SPLITS, *folders])
    # A process of its own scores while this one waits for MLflow; a forked one would inherit the locks of threads.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        scoring = pool.submit(score, list(p.members), p.ensemble.every, p.scoring, p.seed)
        with runs.stage_run(stage="evaluate", params=params.dump(p), inputs=inputs) as run:
            from yoyak.reporting import ensemble_charts

            found = scoring.result()
            for split, rows in found.sizes.items():
                run.log_dataset(project.split_file(split), context=split, rows=rows)
            scores = {
                f"{system}/{split}/{metric}": value
                for system, parts in found.metrics.items()
                for split, values in parts.items()
                for metric, value in values.items()
            }
            run.log_metrics({**scores, **found.analysis.headline_metrics()})
            run.log_table(found.samples)
            run.log_artifact(project.EVALUATION)
            with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
                for chart in ensemble_charts.draw_charts(found.analysis).values():
                    write_text(Path(temporary, f"{chart.name}.svg"), chart.light)
                run.log_artifacts(temporary, "plots")
    best = found.best_member
    print(f"best member: {best}, combined ROUGE {found.metrics[best]['dev']['combined']:.4f} on dev")
    print(found.analysis.conclusion)


def score(members: Sequence[str], strategies: Mapping[str, Strategy], scoring: Scoring, seed: int) -> Scored:
    """Write evaluation/ and metrics/scores/, and return what is to be logged of them."""
    from yoyak.data.records import read_jsonl
    from yoyak.decoding.candidates import read_candidates
    from yoyak.ensemble.analysis import analyse
    from yoyak.ensemble.splits import read_choices
    from yoyak.scoring.evaluation import evaluate_systems, headline_metrics, write_evaluation

    splits = {split: read_jsonl(path) for split, path in project.eval_splits().items()}
    candidates = {member: _read(read_candidates, project.predictions_folder(member), splits) for member in members}
    choices = {name: _read(read_choices, project.ensemble_folder(name), splits) for name in strategies}
    predictions = {member: _texts(found, lambda best: best[0].text) for member, found in candidates.items()}
    ensembles = {name: _texts(found, lambda choice: choice.text) for name, found in choices.items()}
    evaluation = evaluate_systems(splits, predictions, scoring, seed, ensembles)
    analysis = analyse(splits, evaluation, strategies, candidates, choices, scoring, seed)
    found = headline_metrics(evaluation.summary)
    write_evaluation(evaluation, project.EVALUATION, analysis)
    with atomic_path(project.SCORES) as work:
        for system, means in found.items():
            write_json(work / f"{system}.json", {split: values["combined"] for split, values in means.items()})
    return Scored(
        sizes={split: len(rows) for split, rows in splits.items()},
        best_member=evaluation.summary.best_member,
        metrics=found,
        analysis=analysis,
        samples=samples(splits, {**predictions, **ensembles}, scoring.samples),
    )


def _read(reader: Any, folder: Path, splits: Iterable[str]) -> dict[str, dict[str, Any]]:
    return {split: reader(folder / f"{split}.jsonl") for split in splits}


def _texts(found: Mapping[str, Mapping[str, Any]], text_of: Any) -> dict[str, dict[str, str]]:
    return {split: {fname: text_of(row) for fname, row in rows.items()} for split, rows in found.items()}


def samples(splits: Mapping[str, Sequence[Dialogue]], predictions: Predictions, count: int) -> list[dict[str, str]]:
    """Return a table of ``count`` dialogues spread over all sets but dev: system, input, prediction, reference."""
    rows = [(split, row) for split, found in splits.items() if split != "dev" for row in found]
    shown = min(count, len(rows))
    chosen = [rows[place * len(rows) // shown] for place in range(shown)]
    return [
        {
            "system": name,
            "fname": row.fname,
            "input": row.dialogue,
            "prediction": found[split][row.fname],
            "reference": row.summaries[0],
        }
        for split, row in chosen
        for name, found in predictions.items()
    ]
