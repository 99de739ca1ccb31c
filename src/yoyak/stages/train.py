"""yoyak train <member>: train one member of params.yaml."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from yoyak import params, project
from yoyak.files import atomic_path, write_json
from yoyak.params.stages import TrainParams
from yoyak.stages.arguments import MemberName
from yoyak.tracking import lineage, runs
from yoyak.tracking.stage_run import StageRun

HEADLINE = ("eval_combined",)
"""The metrics that `dvc metrics show` shows."""


def run(member: MemberName, /) -> None:
    """Write models/, training/, metrics/, plots/ and receipts/ of a member, and a run with its curves in MLflow.

    A member that is not trained gets the same outputs, with no figures in them.
    """
    p = params.load(TrainParams, key=member)
    if isinstance(p.member, params.TrainedMember):
        _train(member, p.member, p)
    else:
        _save(member, p.member, p)


def _train(member: str, settings: params.TrainedMember, p: TrainParams) -> None:
    base = project.base_folder(member)
    inputs = lineage.digests([project.TRAIN_SPLIT, project.DEV_SPLIT, project.MASKS, base])
    from yoyak.data.records import read_jsonl
    from yoyak.models.libraries import import_transformers

    import_transformers()
    from yoyak.models.checkpoints import open_source
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.training.out_of_memory import retry_with_smaller_batches
    from yoyak.training.recovery import lock_checkpoints, remove_checkpoints
    from yoyak.training.summary_trainer import CheckpointScoring
    from yoyak.training.trainer import train_member

    masks = project.MASKS.read_text(encoding="utf-8").split()
    own_tokenizer = base / project.BASE_TOKENIZER if settings.tokenizer else None
    if own_tokenizer:
        tokenizer = load_tokenizer(own_tokenizer, masks)
    else:
        source = open_source(str(settings.checkpoint), settings.revision)
        tokenizer = load_tokenizer(source.tokenizer, masks, source.revision)
    train, dev = read_jsonl(project.TRAIN_SPLIT), read_jsonl(project.DEV_SPLIT)
    checkpoints = project.checkpoints_folder(member)
    with (
        lock_checkpoints(checkpoints),
        runs.stage_run(stage="train", member=member, params=params.dump(p, member), inputs=inputs) as run,
    ):
        for name, rows in (("train", train), ("dev", dev)):
            run.log_dataset(project.split_file(name), context=name, rows=len(rows))
        train_with_batch = partial(
            train_member,
            member,
            tokenizer=tokenizer,
            train=train,
            dev=dev,
            scoring=CheckpointScoring(
                granularity=p.granularities[0], multi_reference=p.multi_reference, weights=p.weights
            ),
            seed=p.seed,
            out=project.model_folder(member),
            checkpoints=checkpoints,
            log=lambda step, values: run.log_metrics(values, step),
            requested=settings,
        )
        result = retry_with_smaller_batches(member, settings, checkpoints, train_with_batch)
        metrics = asdict(result.metrics)
        _write_results(member, run, inputs, metrics, result.curves)
        remove_checkpoints(checkpoints)
        run.log_metrics({key: value for key, value in metrics.items() if not isinstance(value, str)})
        if result.checkpoint:
            run.set_tags({"checkpoint": result.checkpoint})
        run.log_artifact(project.training_curves_file(member), project.PLOTS.name)


def _save(member: str, settings: params.Member, p: TrainParams) -> None:
    from yoyak.models.families import get_family
    from yoyak.models.spec import save_spec

    inputs = lineage.digests([project.base_folder(member)])
    with runs.stage_run(stage="train", member=member, params=params.dump(p, member), inputs=inputs) as run:
        with atomic_path(project.model_folder(member)) as work:
            work.mkdir()
            save_spec(work, get_family(settings.family).make_spec(member, settings))
        _write_results(member, run, inputs, metrics={}, curves=[])


def _write_results(
    member: str,
    run: StageRun,
    inputs: Mapping[str, str],
    metrics: Mapping[str, Any],
    curves: Iterable[Mapping[str, float]],
) -> None:
    from yoyak.training.results import CURVE_COLUMNS

    write_json(project.training_file(member), metrics)
    write_json(project.training_metrics_file(member), {name: metrics[name] for name in HEADLINE if name in metrics})
    with atomic_path(project.training_curves_file(member)) as work, work.open("w", newline="") as out:
        writer = csv.DictWriter(out, CURVE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(curves)
    lineage.write_receipt(project.receipt_file(member), run.receipt(member, inputs))
