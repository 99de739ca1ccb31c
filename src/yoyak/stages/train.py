"""yoyak train <member>: train one member of params.yaml."""

from __future__ import annotations

import csv
from dataclasses import asdict

from yoyak import params, project
from yoyak.files import atomic_path, write_json
from yoyak.models import catalog
from yoyak.params.stages import TrainParams
from yoyak.stages.arguments import MemberName
from yoyak.tracking import lineage, runs

HEADLINE = ("eval_combined",)
"""The metrics that `dvc metrics show` shows."""


def run(member: MemberName, /) -> None:
    """Write models/, training/, metrics/, plots/ and receipts/ of a member, and a run with its curves in MLflow."""
    p = params.load(TrainParams, key=member)
    settings = params.require_trained(member, p.member)
    base = project.base_folder(member)
    inputs = lineage.digests([project.TRAIN_SPLIT, project.DEV_SPLIT, project.MASKS, base])
    from yoyak.data.records import read_jsonl
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.training.recovery import lock_checkpoints, remove_checkpoints
    from yoyak.training.results import CURVE_COLUMNS
    from yoyak.training.trainer import CheckpointScoring, train_member

    masks = project.MASKS.read_text(encoding="utf-8").split()
    own_tokenizer = base / project.BASE_TOKENIZER if settings.tokenizer else None
    source = own_tokenizer or catalog.checkpoint(str(settings.checkpoint))
    train, dev = read_jsonl(project.TRAIN_SPLIT), read_jsonl(project.DEV_SPLIT)
    checkpoints = project.checkpoints_folder(member)
    with (
        lock_checkpoints(checkpoints),
        runs.stage_run(stage="train", member=member, params=params.dump(p, member), inputs=inputs) as run,
    ):
        for name, rows in (("train", train), ("dev", dev)):
            run.log_dataset(project.split_file(name), context=name, rows=len(rows))
        result = train_member(
            member,
            settings,
            load_tokenizer(source, masks, None if own_tokenizer else settings.revision),
            train,
            dev,
            scoring=CheckpointScoring(
                granularity=p.granularities[0], multi_reference=p.multi_reference, weights=p.weights
            ),
            seed=p.seed,
            out=project.model_folder(member),
            checkpoints=checkpoints,
            log=lambda step, values: run.log_metrics(values, step),
        )
        metrics = asdict(result.metrics)
        write_json(project.training_file(member), metrics)
        write_json(project.training_metrics_file(member), {name: metrics[name] for name in HEADLINE})
        curves = project.training_curves_file(member)
        with atomic_path(curves) as work, work.open("w", newline="") as out:
            writer = csv.DictWriter(out, CURVE_COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(result.curves)
        lineage.write_receipt(project.receipt_file(member), run.receipt(member, inputs))
        remove_checkpoints(checkpoints)
        run.log_metrics({key: value for key, value in metrics.items() if not isinstance(value, str)})
        if result.checkpoint:
            run.set_tags({"checkpoint": result.checkpoint})
        run.log_artifact(curves, project.PLOTS.name)
