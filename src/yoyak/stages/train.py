"""yoyak train <member>: train one member of params.yaml."""

from __future__ import annotations

import csv
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
    from yoyak.training.trainer import CURVE, train_member

    masks = (prepared / "masks.txt").read_text(encoding="utf-8").split()
    own = prepared / "tokenizers" / settings.tokenizer if settings.tokenizer else None
    source = own or catalog.checkpoint(str(settings.checkpoint))
    train, dev = read_jsonl(prepared / "train.jsonl"), read_jsonl(prepared / "dev.jsonl")
    with runs.stage_run(stage="train", member=member, params=params.dump(p, member), inputs=inputs) as run:
        for name, rows in (("train", train), ("dev", dev)):
            run.log_dataset(f"prepared/{name}.jsonl", context=name, rows=len(rows))
        done = train_member(
            member,
            settings,
            load_tokenizer(source, masks, None if own else settings.revision),
            train,
            dev,
            seed=p.seed,
            out=Path("models", member),
            checkpoints=Path("checkpoints", member),
            log=lambda step, values: run.log_metrics(values, step),
        )
        run.log_metrics({key: value for key, value in done.metrics.items() if not isinstance(value, str)})
        write_json(Path("metrics", f"train_{member}.json"), done.metrics)
        with atomic_path(Path("plots", f"curves_{member}.csv")) as work, work.open("w", newline="") as out:
            writer = csv.DictWriter(out, CURVE, lineterminator="\n")
            writer.writeheader()
            writer.writerows(done.curves)
        run.log_artifact(Path("plots", f"curves_{member}.csv"), "plots")
    lineage.write_receipt(Path("receipts", f"{member}.json"), run.receipt(member, inputs))
