"""Training a member with transformers' Trainer, with ROUGE evaluation and resumption after an interruption."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    TrainerCallback,
    logging,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from yoyak.data.augmenting.views import augment
from yoyak.data.records import Dialogue
from yoyak.decoding.torch import TorchSummarizer
from yoyak.files import atomic_path
from yoyak.models import catalog, preflight, unsloth
from yoyak.models.adapters import Base, attach
from yoyak.models.checkpoints import open_source, weights_digest
from yoyak.models.families import family_of
from yoyak.models.load import build_model, read_config
from yoyak.models.precision import check_trainable, decide, find_hardware
from yoyak.models.target_loss import target_loss
from yoyak.models.tokenizers import new_tokens
from yoyak.params import TrainedMember
from yoyak.params.adapters import Lora
from yoyak.params.generation import OutputStep
from yoyak.process import return_freed_memory
from yoyak.training import ranks
from yoyak.training.arguments import build_arguments, check_optimizer
from yoyak.training.dataset import EncodedRows, encode_rows, input_texts, make_collator, sample_rows, target_texts
from yoyak.training.out_of_memory import keep_batch
from yoyak.training.plugins import load_callbacks, load_metrics
from yoyak.training.progress import MetricLogger, Progress, peak_memory_mb
from yoyak.training.recovery import Checkpoint, find_checkpoint, fingerprint, identify_checkpoint
from yoyak.training.results import TrainingMetrics, TrainingResult, training_curves
from yoyak.training.saving import Adapted, save_adapted
from yoyak.training.selection import CheckpointScoring
from yoyak.training.sharding import unshard
from yoyak.training.summary_trainer import SummaryTrainer
from yoyak.training.tensorboard import add_event_files
from yoyak.training.termination import save_on_sigterm
from yoyak.training.watchdog import Fail, LiftAfterFirstStep, time_limit

WITHOUT_EFFECT = {"launcher", "max_load_seconds", "max_first_step_seconds", "tensorboard"}
"""Params of a member that do not change what is trained: however many processes share a batch, it is the same."""


def train_member(
    name: str,
    member: TrainedMember,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Dialogue],
    dev: Sequence[Dialogue],
    *,
    scoring: CheckpointScoring,
    seed: int,
    out: Path,
    checkpoints: Path,
    log: MetricLogger | None = None,
    requested: TrainedMember | None = None,
    fail: Fail | None = None,
    postprocessing: tuple[OutputStep, ...] = (),
    callbacks: Sequence[TrainerCallback] = (),
) -> TrainingResult:
    """Train a member and save its best checkpoint to ``out`` as safetensors, with its tokenizer.

    Several processes call this together, after `torch.distributed` was initialized. The first one writes.

    Args:
        train: Training rows; the first reference of each is the target.
        dev: Rows for the eval loss; a sample of them is summarized to select the best checkpoint.
        out: Folder for the model in the Hub's layout, written atomically.
        checkpoints: Folder for checkpoints. An interrupted run with the same fingerprint is resumed from there, with
            the same result as an uninterrupted one. The caller removes them with `recovery.remove_checkpoints` once
            everything else is written.
        log: Called with a step and its metrics as they are measured.
        requested: The member as params.yaml has it, of which ``member`` may have a smaller batch.
        fail: Called with a sentence before the process is ended because it hangs.
        postprocessing: Steps after the model, with which evaluations summarize; the saved model has them too.
        callbacks: The caller's own, besides those that the member names.

    Raises UserError if a preflight check fails.
    """
    started = time.perf_counter()
    return_freed_memory()
    train = augment(train, member.augmentation, seed)
    # transformers warns about things that are intended here: tied weights, a missing loss type, our own spec file.
    logging.set_verbosity_error()
    family = family_of(member)
    spec = family.apply_tokenizer(family.make_spec(name, member), member, tokenizer)
    spec = replace(spec, generation=spec.generation.model_copy(update={"postprocessing": postprocessing}))
    set_seed(seed)
    hardware = find_hardware()
    check_optimizer(name, member, hardware.device)
    precision = decide(
        f"members.{name}.precision", member.precision, read_config(name, member, tokenizer).model_type, hardware
    )
    spec = replace(spec, dtype=precision.dtype)
    with time_limit(f"members.{name}.max_load_seconds", member.max_load_seconds, fail):
        model = build_model(name, member, tokenizer, precision.dtype)
        examples = list(zip(input_texts(train[:8], spec), target_texts(train[:8], spec), strict=True))
        # It calls the model, which may hang too.
        preflight.check(spec, member, model, tokenizer, examples, out)
    rows = encode_rows(train, tokenizer, spec, member.max_target_tokens, model.generation_config)
    _report_truncation(name, rows, member.max_truncated_share)
    base_checkpoint = identify_checkpoint(member, getattr(model.config, "_commit_hash", None))
    base = _describe_base(member, member.adapter, model, base_checkpoint) if member.adapter else None
    trained = attach(f"members.{name}", model, member.adapter, new_tokens(tokenizer)) if member.adapter else model
    if member.adapter and member.adapter.unsloth:
        trained = unsloth.patch(trained, gradient_checkpointing=member.gradient_checkpointing)
    check_trainable(f"members.{name}", trained, precision)
    settings = {
        "members": {name: (requested or member).model_dump(mode="json", exclude=WITHOUT_EFFECT)},
        "scoring": asdict(scoring),
        "seed": seed,
        "precision": precision.precision,
        **({"postprocessing": postprocessing} if postprocessing else {}),
    }
    expected = fingerprint(settings, tokenizer=tokenizer, checkpoint=base_checkpoint, train=train, dev=dev)
    current, reduced = member, requested not in (None, member)
    checkpoint, member = ranks.from_first(
        lambda: (find_checkpoint(checkpoints, expected), keep_batch(current, checkpoints, reduced=reduced))
    )
    if member.tensorboard and ranks.rank() == 0:
        log = add_event_files(log, f"members.{name}", name)
    progress = Progress(log, visible=ranks.rank() == 0, evaluated_on="held-out" if member.fold else "dev")
    trainer = SummaryTrainer(
        summarizer=TorchSummarizer(model, tokenizer, spec),
        sample=sample_rows(dev, member.evaluation_dialogues, seed),
        scoring=scoring,
        target_loss=target_loss(member, family),
        max_batch_tokens=member.max_batch_tokens,
        row_tokens=member.row_tokens,
        metrics=load_metrics(f"members.{name}", member.metrics),
        model=trained,
        args=build_arguments(member, seed, checkpoints, len(train), precision),
        train_dataset=rows.dataset,
        eval_dataset=encode_rows(dev, tokenizer, spec, member.max_target_tokens, model.generation_config).dataset,
        # In training unsloth reads no mask.
        data_collator=make_collator(
            tokenizer, model, family, masks_padding=not (member.adapter and member.adapter.unsloth)
        ),
        callbacks=[
            *([EarlyStoppingCallback(member.early_stopping_patience)] if member.early_stopping_patience else []),
            *load_callbacks(f"members.{name}", member.callbacks),
            *callbacks,
            progress,
        ],
    )
    if trainer.target_loss is not None:
        # What the check draws must not change the dropout.
        with torch.random.fork_rng():
            trainer.check_loss(f"members.{name}", trainer.target_loss, trainer.sample_batches(size=1)[0])
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    if ranks.rank():
        # Else all would drop the same activations.
        set_seed(seed + ranks.rank())
    with time_limit(f"members.{name}.max_first_step_seconds", member.max_first_step_seconds, fail) as lift:
        trainer.add_callback(LiftAfterFirstStep(lift))
        steps_before = _fit(trainer, checkpoint, progress)

    metrics = _collect_metrics(trainer, rows, steps_before, time.perf_counter() - started)
    whole = unshard(model, family) if trainer.sharded else model
    if ranks.rank() == 0:
        with atomic_path(out) as work:
            if member.adapter is None or base is None:
                family.save(whole, tokenizer, spec, work)
            else:
                # Merging may need the room of the optimizer's state.
                trainer.free_optimizer()
                adapted = Adapted(
                    model=trained,
                    lora=member.adapter,
                    base=base,
                    batches=trainer.sample_batches(),
                )
                metrics = replace(metrics, merge_agreement=save_adapted(adapted, tokenizer, spec, work))
    return TrainingResult(
        metrics=metrics,
        curves=training_curves(trainer.state.log_history),
        checkpoint=base_checkpoint,
    )


def _fit(trainer: SummaryTrainer, checkpoint: Checkpoint | None, progress: Progress) -> int:
    """Train to the end, from a checkpoint if there is one, and load the best model; return the step resumed from."""
    if checkpoint is not None and checkpoint.finished:
        # The Trainer would take one more step before noticing that training has ended.
        trainer.load_finished(checkpoint)
        for row in trainer.state.log_history:
            progress.log_row(row)
        return trainer.state.global_step
    with warnings.catch_warnings(), save_on_sigterm(trainer):
        # Checkpoints are identified by their step here, not by modification time.
        warnings.filterwarnings("ignore", message="mtime may not be reliable")
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    if not any("eval_combined" in row for row in trainer.state.log_history):
        trainer.evaluate()
    return int(checkpoint.path.name.split("-")[1]) if checkpoint else 0


def _describe_base(member: TrainedMember, lora: Lora, model: Any, identity: str) -> Base:
    """Return what an adapter that is saved apart has to be attached to."""
    source = open_source(str(member.checkpoint), member.revision)
    return Base(
        checkpoint=str(member.checkpoint),
        revision=getattr(model.config, "_commit_hash", None)
        or catalog.find_revision(str(member.checkpoint), member.revision),
        identity=identity,
        weights=weights_digest(source),
        config=member.config,
        embeddings=model.get_input_embeddings().num_embeddings,
        quantization=lora.quantization.model_dump() if lora.quantization else None,
    )


def _report_truncation(name: str, rows: EncodedRows, max_share: float) -> None:
    """Print how many training rows were truncated, as a warning above a share of ``max_share``."""
    total = len(rows.dataset)
    for kind, count, limit in (("dialogues", rows.cut_dialogues, "input"), ("summaries", rows.cut_summaries, "target")):
        if count:
            warn = count / total > max_share
            print(
                f"{'warning: ' if warn else ''}{count} of {total} training {kind} ({count / total:.1%}) are cut at "
                f"members.{name}.max_{limit}_tokens{': raise it' if warn else ''}",
                file=sys.stderr,
            )


def _collect_metrics(trainer: SummaryTrainer, rows: EncodedRows, steps_before: int, seconds: float) -> TrainingMetrics:
    history, steps = trainer.state.log_history, trainer.state.global_step
    best = max((row for row in history if "eval_combined" in row), key=lambda row: row["eval_combined"])
    model = trainer.summarizer.model
    runtime = next((row for row in reversed(history) if "train_runtime" in row), None)
    samples_per_second = 0.0
    if runtime is not None:
        # The Trainer divides all samples, those before an interruption too, by the time of this process alone.
        samples_per_second = runtime["train_samples_per_second"] * (steps - steps_before) / steps
    return TrainingMetrics(
        train_loss=next(row["loss"] for row in reversed(history) if "loss" in row),
        eval_loss=best["eval_loss"],
        eval_combined=best["eval_combined"],
        best_step=int(best["step"]),
        steps=steps,
        epochs=round(float(trainer.state.epoch or 0.0), 3),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        trained_parameters=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        seconds=round(seconds, 1),
        samples_per_second=round(samples_per_second, 1),
        peak_memory_mb=peak_memory_mb(),
        batch_size=trainer.args.per_device_train_batch_size,
        truncated_dialogues=rows.cut_dialogues,
        truncated_summaries=rows.cut_summaries,
        device=str(trainer.args.device) if trainer.size == 1 else f"{trainer.size} x {trainer.args.device.type}",
        precision=trainer.summarizer.spec.dtype,
    )
