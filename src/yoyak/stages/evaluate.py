"""yoyak evaluate: score members, ensembles and extractive baselines."""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.failures import describe_failures, find_failures
from yoyak.files import write_text
from yoyak.params.stages import EvaluateParams, without_failed
from yoyak.tracking import headline, lineage, runs

if TYPE_CHECKING:
    from yoyak.ensemble.evaluate import PipelineScores


def run() -> None:
    """Write evaluation/ and metrics/scores/ from predictions/ and ensembles/, and log them as a run in MLflow."""
    p = params.load(EvaluateParams)
    failures = find_failures({member: project.predictions_folder(member) for member in p.members})
    if len(failures) == len(p.members):
        raise UserError(f"no member was trained: {describe_failures(failures)}.")
    failures |= find_failures({name: project.ensemble_folder(name) for name in p.ensemble.every})
    if failures:
        print(f"evaluated without these: {describe_failures(failures)}", file=sys.stderr)
        p = without_failed(p, failures)
    folders = [project.predictions_folder(member) for member in p.members]
    folders += [project.ensemble_folder(name) for name in p.ensemble.every]
    inputs = lineage.digests([project.EVAL_SPLITS, *folders])
    # Scoring runs in a process of its own while this one waits for MLflow. It is spawned: a forked process would
    # inherit the locks of this one's threads.
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        scoring = pool.submit(score, p)
        with runs.stage_run(stage="evaluate", params=params.dump(p), inputs=inputs) as run:
            from yoyak.reporting import ensemble_charts

            scores = scoring.result()
            for split, rows in scores.split_sizes.items():
                run.log_dataset(project.split_file(split), context=split, rows=rows)
            run.log_metrics(scores.metrics())
            headline.log_scores(
                run.parent,
                best_member=scores.best_member,
                best_ensemble=scores.best_ensemble,
                means=scores.means,
            )
            run.log_table(scores.samples)
            run.log_artifact(project.EVALUATION)
            with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
                for chart in ensemble_charts.draw_charts(scores.analysis).values():
                    write_text(Path(temporary, f"{chart.name}.svg"), chart.light)
                run.log_artifacts(temporary, project.PLOTS.name)
    best = scores.best_member
    print(f"best member: {best}, combined ROUGE {scores.means[best]['dev']['combined']:.4f} on dev")
    print(scores.analysis.conclusion)


def score(p: EvaluateParams) -> PipelineScores:
    """Score in a worker process, which alone has to import the scoring modules."""
    from yoyak.ensemble.evaluate import score_pipeline

    return score_pipeline(p)
