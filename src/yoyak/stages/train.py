"""yoyak train <member>: train one member of params.yaml."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path

from yoyak import params
from yoyak.files import atomic_path, write_json
from yoyak.models import catalog
from yoyak.params.stages import TrainParams
from yoyak.stages.arguments import MemberName
from yoyak.tracking import lineage, runs


def run(member: MemberName, /) -> None:
    """Train a member; write models/, metrics/, plots/ and receipts/, and a run with its curves in MLflow."""
    p = params.load(TrainParams, key=member)
    settings = p.member
    prepared = Path("prepared")
    inputs = lineage.digests([prepared])
    from yoyak.data.records import read_jsonl
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.training.recovery import remove_checkpoints
    from yoyak.training.results import CURVE_COLUMNS
    from yoyak.training.trainer import CheckpointScoring, train_member

    masks = (prepared / "masks.txt").read_text(encoding="utf-8").split()
    own = prepared / "tokenizers" / settings.tokenizer if settings.tokenizer else None
    source = own or catalog.checkpoint(str(settings.checkpoint))
    train, dev = read_jsonl(prepared / "train.jsonl"), read_jsonl(prepared / "dev.jsonl")
    checkpoints = Path("checkpoints", member)
    with runs.stage_run(stage="train", member=member, params=params.dump(p, member), inputs=inputs) as run:
        for name, rows in (("train", train), ("dev", dev)):
            run.log_dataset(f"prepared/{name}.jsonl", context=name, rows=len(rows))
        result = train_member(
            member,
            settings,
            load_tokenizer(source, masks, None if own else settings.revision),
            train,
            dev,
            scoring=CheckpointScoring(
                granularity=p.granularities[0], multi_reference=p.multi_reference, weights=p.weights
            ),
            seed=p.seed,
            out=Path("models", member),
            checkpoints=checkpoints,
            log=lambda step, values: run.log_metrics(values, step),
        )
        metrics = asdict(result.metrics)
        write_json(Path("metrics", f"train_{member}.json"), metrics)
        curves = Path("plots", f"curves_{member}.csv")
        with atomic_path(curves) as work, work.open("w", newline="") as out:
            writer = csv.DictWriter(out, CURVE_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(result.curves)
        lineage.write_receipt(Path("receipts", f"{member}.json"), run.receipt(member, inputs))
        remove_checkpoints(checkpoints)
        run.log_metrics(
            {
                **{key: value for key, value in metrics.items() if not isinstance(value, str)},
                "truncated_dialogues": result.truncation.dialogues,
                "truncated_summaries": result.truncation.summaries,
            }
        )
        run.set_tags({"checkpoint": result.checkpoint})
        run.log_artifact(curves, "plots")
