"""Training a member with transformers' Trainer, with ROUGE evaluation and resumption after an interruption."""

from __future__ import annotations

import gc
import inspect
import json
import math
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerState,
    logging,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from yoyak.data.records import Dialogue
from yoyak.decoding.torch import TorchSummarizer, ran_out_of_memory
from yoyak.errors import UserError
from yoyak.files import atomic_path, write_json
from yoyak.models import catalog, preflight
from yoyak.models.adapters import Base, attach
from yoyak.models.checkpoints import open_source, weights_digest
from yoyak.models.families import family_of
from yoyak.models.load import build_model, read_config
from yoyak.models.precision import check_trainable, decide, find_hardware
from yoyak.models.tokenizers import new_tokens
from yoyak.params import TrainedMember
from yoyak.params.adapters import Lora
from yoyak.scoring.rouge import Protocol, rouge
from yoyak.tracking import lineage
from yoyak.training.arguments import advise_less_memory, build_arguments, check_optimizer
from yoyak.training.dataset import EncodedRows, EpochLengthGroupedSampler, encode_rows, make_collator, sample_rows
from yoyak.training.launch import check_launch
from yoyak.training.plugins import Metric, load_callbacks, load_metrics
from yoyak.training.progress import MetricLogger, Progress
from yoyak.training.recovery import STATE_FILE, Checkpoint, find_checkpoint, fingerprint, remove_checkpoints
from yoyak.training.results import TrainingMetrics, TrainingResult, training_curves
from yoyak.training.saving import Adapted, save_adapted

COMPARED_ROWS = 32
"""Dev rows on which a merged model is compared with its adapter attached."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointScoring:
    """The ROUGE variant that selects the best checkpoint; models are compared with the same one."""

    granularity: str
    multi_reference: Protocol
    weights: tuple[float, float, float]
    """Weights of ROUGE-1, ROUGE-2 and ROUGE-L."""


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
) -> TrainingResult:
    """Train a member and save its best checkpoint to ``out`` as safetensors, with its tokenizer.

    Args:
        train: Training rows; the first reference of each is the target.
        dev: Rows for the eval loss; a sample of them is summarized to select the best checkpoint.
        out: Folder for the model in the Hub's layout, written atomically.
        checkpoints: Folder for checkpoints. An interrupted run with the same fingerprint is resumed from there, with
            the same result as an uninterrupted one. The caller removes them with `recovery.remove_checkpoints` once
            everything else is written.
        log: Called with a step and its metrics as they are measured.

    If memory runs out, training starts over with half the batch and twice the gradient accumulation: an update has as
    many rows as before.

    Raises UserError if a preflight check fails, or if one row does not fit into memory.
    """
    requested = member
    while True:
        try:
            return _train_member(name, member, requested, tokenizer, train, dev, scoring, seed, out, checkpoints, log)
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            smaller = halve_batch(member)
            if smaller is None:
                raise UserError(
                    f"members.{name}: not even one row fits into memory: {advise_less_memory(member)}."
                ) from error
        # Not in the block above, in which the error still holds what had been computed.
        gc.collect()
        remove_checkpoints(checkpoints)
        print(
            f"members.{name}: memory ran out with a batch of {member.batch_size}; training starts over with "
            f"{smaller.batch_size}, and {smaller.gradient_accumulation_steps} batches to an update",
            file=sys.stderr,
        )
        member = smaller


def halve_batch(member: TrainedMember) -> TrainedMember | None:
    """Return the member with half the batch and as many rows to an update; None if a batch is one row."""
    if member.batch_size == 1:
        return None
    batch_size = member.batch_size // 2
    steps = math.ceil(member.batch_size * member.gradient_accumulation_steps / batch_size)
    return member.model_copy(update={"batch_size": batch_size, "gradient_accumulation_steps": steps})


def _keep_batch(member: TrainedMember, requested: TrainedMember, checkpoints: Path) -> TrainedMember:
    """Return the member with the batch that an interrupted run was reduced to; remember one that is reduced now."""
    path, keys = checkpoints / "batch.json", ("batch_size", "gradient_accumulation_steps")
    if member is not requested:
        write_json(path, {key: getattr(member, key) for key in keys})
    elif path.is_file():
        return member.model_copy(update=json.loads(path.read_text(encoding="utf-8")))
    return member


def _train_member(
    name: str,
    member: TrainedMember,
    requested: TrainedMember,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Dialogue],
    dev: Sequence[Dialogue],
    scoring: CheckpointScoring,
    seed: int,
    out: Path,
    checkpoints: Path,
    log: MetricLogger | None,
) -> TrainingResult:
    started = time.perf_counter()
    # transformers warns about things that are intended here: tied weights, a missing loss type, our own spec file.
    logging.set_verbosity_error()
    check_launch()
    family = family_of(member)
    spec = family.apply_tokenizer(family.make_spec(name, member), member, tokenizer)
    set_seed(seed)
    hardware = find_hardware()
    check_optimizer(name, member, hardware.device)
    precision = decide(
        f"members.{name}.precision", member.precision, read_config(name, member, tokenizer).model_type, hardware
    )
    spec = replace(spec, dtype=precision.dtype)
    model = build_model(name, member, tokenizer, precision.dtype)
    preflight.check(spec, member, model, tokenizer, [(row.dialogue, row.summaries[0]) for row in train[:8]], out)
    rows = encode_rows(train, tokenizer, spec, member.max_target_tokens, model.generation_config)
    _report_truncation(name, rows, member.max_truncated_share)
    base_checkpoint = _identify_base_checkpoint(member, model)
    base = _describe_base(member, member.adapter, model, base_checkpoint) if member.adapter else None
    trained = attach(f"members.{name}", model, member.adapter, new_tokens(tokenizer)) if member.adapter else model
    check_trainable(f"members.{name}", trained, precision)
    settings = {
        "members": {name: requested},
        "scoring": asdict(scoring),
        "seed": seed,
        "precision": precision.precision,
    }
    expected = fingerprint(settings, tokenizer=tokenizer, checkpoint=base_checkpoint, train=train, dev=dev)
    checkpoint = find_checkpoint(checkpoints, expected)
    member = _keep_batch(member, requested, checkpoints)
    progress = Progress(log)
    trainer = SummaryTrainer(
        summarizer=TorchSummarizer(model, tokenizer, spec),
        sample=sample_rows(dev, member.evaluation_dialogues, seed),
        scoring=scoring,
        metrics=load_metrics(f"members.{name}", member.metrics),
        model=trained,
        args=build_arguments(member, seed, checkpoints, len(train), precision),
        train_dataset=rows.dataset,
        eval_dataset=encode_rows(dev, tokenizer, spec, member.max_target_tokens, model.generation_config).dataset,
        data_collator=make_collator(tokenizer, model, family),
        callbacks=[
            EarlyStoppingCallback(member.early_stopping_patience),
            *load_callbacks(f"members.{name}", member.callbacks),
            progress,
        ],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    steps_before = _fit(trainer, checkpoint, progress)

    metrics = _collect_metrics(trainer, rows, steps_before, time.perf_counter() - started)
    with atomic_path(out) as work:
        if member.adapter is None or base is None:
            family.save(model, tokenizer, spec, work)
        else:
            # Merging may need the room of the optimizer's state.
            trainer.optimizer = trainer.lr_scheduler = None
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


class SummaryTrainer(Trainer):
    """Trainer whose evaluation also summarizes a sample of dev and scores the summaries."""

    def __init__(
        self,
        *,
        summarizer: TorchSummarizer,
        sample: Sequence[Dialogue],
        scoring: CheckpointScoring,
        metrics: Mapping[str, Metric],
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        self.metrics = metrics
        self.summarizer = summarizer
        self.sample = sample
        self.scoring = scoring
        self.family = family_of(summarizer.spec)
        self.parameters = frozenset(inspect.signature(summarizer.model.forward).parameters)

    def load_finished(self, checkpoint: Checkpoint) -> None:
        """Load the state and the best model of a run that ended with a checkpoint."""
        self.state = TrainerState.load_from_json(str(checkpoint.path / STATE_FILE))
        self._load_best_model()

    def sample_batches(self) -> list[dict[str, Any]]:
        """Return what the model is called with on the first `COMPARED_ROWS` rows of dev."""
        dev: Any = self.eval_dataset
        rows = dev.select(range(min(COMPARED_ROWS, len(dev))))
        batches = (self._prepare_inputs(batch) for batch in self.get_eval_dataloader(rows))
        return [self.family.loss_inputs(batch, self.parameters) for batch in batches]

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochLengthGroupedSampler:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        return EpochLengthGroupedSampler(self.args.train_batch_size, lengths, self.args.seed)

    def compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Compute the loss from what the family calls the model with."""
        return super().compute_loss(model, self.family.loss_inputs(inputs, self.parameters), *args, **kwargs)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Add the combined ROUGE of greedy summaries to the Trainer's metrics."""
        output: Any = super().evaluation_loop(*args, **kwargs)
        if not math.isfinite(output.metrics["eval_loss"]):
            raise UserError(
                f"members.{self.summarizer.spec.member}: after {self.state.global_step} steps the dev loss is "
                f"{output.metrics['eval_loss']}: lower its learning_rate, {self.args.learning_rate:g}."
            )
        self.summarizer.model.eval()
        summaries = self.summarizer.summarize([row.dialogue for row in self.sample])
        scores = rouge(
            summaries.texts,
            [row.summaries for row in self.sample],
            granularity=self.scoring.granularity,
            multi_reference=self.scoring.multi_reference,
            weights=self.scoring.weights,
        )
        output.metrics["eval_combined"] = float(scores["combined"].mean())
        references = [row.summaries for row in self.sample]
        for name, metric in self.metrics.items():
            output.metrics[f"eval_{name}"] = float(metric(summaries.texts, references))
        return output


def _fit(trainer: SummaryTrainer, checkpoint: Checkpoint | None, progress: Progress) -> int:
    """Train to the end, from a checkpoint if there is one, and load the best model; return the step resumed from."""
    if checkpoint is not None and checkpoint.finished:
        # The Trainer would take one more step before noticing that training has ended.
        trainer.load_finished(checkpoint)
        for row in trainer.state.log_history:
            progress.log_row(row)
        return trainer.state.global_step
    with warnings.catch_warnings():
        # Checkpoints are identified by their step here, not by modification time.
        warnings.filterwarnings("ignore", message="mtime may not be reliable")
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
    if not any("eval_combined" in row for row in trainer.state.log_history):
        trainer.evaluate()
    return int(checkpoint.path.name.split("-")[1]) if checkpoint else 0


def _identify_base_checkpoint(member: TrainedMember, model: Any) -> str:
    """Return the md5 of a local checkpoint, ``name@commit`` of one on the Hub, or "" if there is none."""
    if member.checkpoint is None:
        return ""
    source = catalog.checkpoint(member.checkpoint)
    if Path(source).is_dir():
        return lineage.digest(source)
    return f"{source}@{getattr(model.config, '_commit_hash', None) or member.revision or 'main'}"


def _describe_base(member: TrainedMember, lora: Lora, model: Any, identity: str) -> Base:
    """Return what an adapter that is saved apart has to be attached to."""
    source = open_source(str(member.checkpoint), member.revision)
    return Base(
        checkpoint=str(member.checkpoint),
        revision=getattr(model.config, "_commit_hash", None) or member.revision,
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
    import resource

    history, steps = trainer.state.log_history, trainer.state.global_step
    best = max((row for row in history if "eval_combined" in row), key=lambda row: row["eval_combined"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated() / 2**20
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
        peak_memory_mb=round(memory),
        batch_size=trainer.args.per_device_train_batch_size,
        truncated_dialogues=rows.cut_dialogues,
        truncated_summaries=rows.cut_summaries,
        device=str(trainer.args.device),
        precision=trainer.summarizer.spec.dtype,
    )
