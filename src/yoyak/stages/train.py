"""yoyak train <member>: train one member of params.yaml."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from cyclopts import Parameter

from yoyak import params, project
from yoyak.errors import UserError
from yoyak.failures import read_failure, write_failure
from yoyak.files import atomic_path, write_json, write_text
from yoyak.params.stages import TrainParams
from yoyak.params.train import OnError, TrainPolicy
from yoyak.stages.arguments import MemberName
from yoyak.tracking import lineage, runs
from yoyak.tracking.stage_run import ERROR, StageRun

HEADLINE = ("eval_combined",)
"""The metrics that `dvc metrics show` shows."""


def run(
    member: MemberName,
    /,
    *,
    on_error: Annotated[
        OnError | None,
        Parameter(help="stop: end with an error; isolate: write why, and succeed. Without it, train.on_error."),
    ] = None,
) -> None:
    """Write models/, training/, metrics/, plots/ and receipts/ of a member, and a run with its curves in MLflow.

    A member that is not trained gets the same outputs, with no figures in them.
    """
    p = params.load(TrainParams, key=member)
    isolated = (on_error or params.load(TrainPolicy).train.on_error) == "isolate"
    if not isinstance(p.member, params.TrainedMember):
        try:
            _save(member, p.member, p)
        except UserError as error:
            if not isolated:
                raise
            _write_failure(member, str(error))
    elif isolated:
        _isolate(member)
    else:
        from yoyak.training.isolation import errors_logged

        with errors_logged(project.error_file(member)):
            _train(member, p.member, p)


def _isolate(member: str) -> None:
    """Train in a process of its own, and write why that failed in place of the model if it does."""
    from yoyak.training.isolation import run_isolated

    log = project.error_file(member)
    reason = read_failure(project.base_folder(member))
    reason = reason or run_isolated([sys.executable, "-m", "yoyak", "train", member, "--on-error", "stop"], log)
    if reason:
        _write_failure(member, reason, f" ({log})")


def _write_failure(member: str, reason: str, details: str = "") -> None:
    # The time makes these outputs unlike those of any other training, so that DVC never takes them from its cache.
    failure = {"reason": reason, "failed_at": datetime.now().astimezone().isoformat()}
    write_failure(project.model_folder(member), **failure)
    write_json(project.training_file(member), failure)
    write_json(project.receipt_file(member), failure)
    _write_figures(member, metrics={}, curves=[])
    print(f"members.{member} failed, and the others go on without it: {reason}{details}", file=sys.stderr)


def _train(member: str, settings: params.TrainedMember, p: TrainParams) -> None:
    base = project.base_folder(member)
    reason = read_failure(base)
    if reason:
        raise UserError(reason)
    inputs = lineage.digests([project.TRAIN_SPLIT, project.DEV_SPLIT, project.MASKS, base])
    from yoyak.data.folding import hold_out
    from yoyak.data.records import read_jsonl
    from yoyak.models.libraries import import_trainer

    import_trainer()
    from yoyak.models.checkpoints import open_source
    from yoyak.models.tokenizers import load_tokenizer
    from yoyak.training.launch import train_on_devices
    from yoyak.training.out_of_memory import retry_with_smaller_batches
    from yoyak.training.recovery import lock_checkpoints, remove_checkpoints
    from yoyak.training.selection import CheckpointScoring
    from yoyak.training.watchdog import time_limit

    masks = project.MASKS.read_text(encoding="utf-8").split()
    own_tokenizer = base / project.BASE_TOKENIZER if settings.tokenizer else None
    if own_tokenizer:
        tokenizer = load_tokenizer(own_tokenizer, masks)
    else:
        with time_limit(f"members.{member}.max_load_seconds", settings.max_load_seconds):
            source = open_source(str(settings.checkpoint), settings.revision)
            tokenizer = load_tokenizer(source.tokenizer, masks, source.revision)
    dev_file = project.TRAIN_SPLIT if settings.fold else project.DEV_SPLIT
    train, dev = read_jsonl(project.TRAIN_SPLIT), read_jsonl(dev_file)
    part = ""
    if settings.fold:
        train, dev = hold_out(train, settings.fold.index, settings.fold.of)
        part = f" fold {settings.fold.index} of {settings.fold.of}"
    checkpoints = project.checkpoints_folder(member)
    with (
        lock_checkpoints(checkpoints),
        runs.stage_run(stage="train", member=member, params=params.dump(p, member), inputs=inputs) as run,
    ):
        run.log_dataset(
            project.TRAIN_SPLIT, context="train", rows=len(train), name=f"train without{part}" if part else None
        )
        # MLflow takes datasets of the same name and digest for one.
        run.log_dataset(dev_file, context="dev", rows=len(dev), name=f"train{part}" if part else None)
        train_with_batch = partial(
            train_on_devices,
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
            fail=partial(_record_hang, member, run),
        )
        result = retry_with_smaller_batches(member, settings, checkpoints, train_with_batch)
        metrics = asdict(result.metrics)
        _write_results(member, run, inputs, metrics, result.curves)
        remove_checkpoints(checkpoints)
        run.log_metrics({key: value for key, value in metrics.items() if not isinstance(value, str)})
        if result.checkpoint:
            run.set_tags({"checkpoint": result.checkpoint})
        run.log_artifact(project.training_curves_file(member), project.PLOTS.name)


def _record_hang(member: str, run: StageRun, sentence: str) -> None:
    """Write why the process is about to be ended, in which no error will be raised."""
    write_text(project.error_file(member), f"{sentence}\n")
    run.end("FAILED", {ERROR: sentence})


def _save(member: str, settings: params.Member, p: TrainParams) -> None:
    from yoyak.models.families import get_family

    base = project.base_folder(member)
    reason = read_failure(base)
    if reason:
        raise UserError(reason)
    inputs = lineage.digests([base, project.TRAIN_SPLIT])
    with runs.stage_run(stage="train", member=member, params=params.dump(p, member), inputs=inputs) as run:
        with atomic_path(project.model_folder(member)) as work:
            work.mkdir()
            get_family(settings.family).assemble(member, settings, base, _training_pairs(), p.seed, work)
        _write_results(member, run, inputs, metrics={}, curves=[])


def _training_pairs() -> Iterator[tuple[str, str]]:
    from yoyak.data.records import read_jsonl

    for row in read_jsonl(project.TRAIN_SPLIT):
        if not row.method:
            yield row.dialogue, row.summaries[0]


def _write_results(
    member: str,
    run: StageRun,
    inputs: Mapping[str, str],
    metrics: Mapping[str, Any],
    curves: Iterable[Mapping[str, float]],
) -> None:
    write_json(project.training_file(member), metrics)
    _write_figures(member, metrics, curves)
    lineage.write_receipt(project.receipt_file(member), run.receipt(member, inputs))


def _write_figures(member: str, metrics: Mapping[str, Any], curves: Iterable[Mapping[str, float]]) -> None:
    from yoyak.training.results import CURVE_COLUMNS

    write_json(project.training_metrics_file(member), {name: metrics[name] for name in HEADLINE if name in metrics})
    with atomic_path(project.training_curves_file(member)) as work, work.open("w", newline="") as out:
        writer = csv.DictWriter(out, CURVE_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(curves)
