"""yoyak evaluate: score members and extractive baselines."""

from __future__ import annotations

from pathlib import Path

from yoyak import lineage, params, tracking
from yoyak.files import write_json


def run() -> None:
    """Write evaluation/ and metrics/evaluate.json from predictions/, and log them as a run in MLflow."""
    p = params.read("members", "scoring", "seed")
    from yoyak.data.records import read_jsonl
    from yoyak.decoding.candidates import read_candidates
    from yoyak.scoring.evaluation import evaluate_systems, metrics, samples, write_evaluation

    prepared, predicted = Path("prepared"), Path("predictions")
    inputs = lineage.digests([prepared, *(predicted / member for member in p.members)])
    splits = {path.stem: read_jsonl(path) for path in sorted(prepared.glob("*.jsonl")) if path.stem != "train"}
    predictions = {
        member: {
            split: {
                fname: best[0].text for fname, best in read_candidates(predicted / member / f"{split}.jsonl").items()
            }
            for split in splits
        }
        for member in p.members
    }
    with tracking.stage_run(stage="evaluate", params={"scoring": p.scoring, "seed": p.seed}, inputs=inputs) as run:
        for name, rows in splits.items():
            run.log_dataset(f"prepared/{name}.jsonl", context=name, rows=len(rows))
        evaluation = evaluate_systems(splits, predictions, p.scoring, p.seed)
        found = metrics(evaluation)
        write_evaluation(evaluation, Path("evaluation"))
        write_json(Path("metrics", "evaluate.json"), found)
        run.log_metrics(
            {
                f"{system}/{split}/{metric}": value
                for system, splits_ in found.items()
                for split, values in splits_.items()
                for metric, value in values.items()
            }
        )
        run.log_table(samples(splits, predictions, p.scoring.samples))
        run.log_artifact("evaluation")
    best = evaluation.summary["best_member"]
    print(f"best member: {best}, combined ROUGE {found[best]['dev']['combined']:.4f} on dev")
