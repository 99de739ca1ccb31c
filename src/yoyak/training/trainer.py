"""Training one member with transformers' Trainer: scored by ROUGE as it goes, and resumed where it was killed."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DataCollatorForSeq2Seq,
    EarlyStoppingCallback,
    PreTrainedTokenizerBase,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    logging,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback, ProgressCallback

from yoyak.data.records import Dialogue
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.files import atomic_path, write_json
from yoyak.models import preflight
from yoyak.models.load import build_model
from yoyak.models.spec import ModelSpec, save_spec
from yoyak.params import Member, Scoring
from yoyak.scoring.rouge import rouge
from yoyak.training.dataset import EpochLengthGroupedSampler, encode

Logger = Callable[[int, Mapping[str, float]], None]

MEASURED = ("loss", "eval_loss", "eval_combined", "learning_rate", "grad_norm")
LOGGED = 5
"""Losses logged for each evaluation."""
CURVE = ("step", "epoch", *MEASURED)
"""Columns of a training's curves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What came of a training."""

    metrics: dict[str, Any]
    curves: list[dict[str, float]]
    """One row for each logged step: ``step``, ``epoch`` and what was measured there."""


def train_member(
    name: str,
    member: Member,
    tokenizer: PreTrainedTokenizerBase,
    train: Sequence[Dialogue],
    dev: Sequence[Dialogue],
    *,
    seed: int,
    out: Path,
    checkpoints: Path,
    log: Logger | None = None,
) -> Training:
    """Train a member and save its best checkpoint at ``out`` as safetensors with its tokenizer.

    Args:
        train: Rows to learn from; the first reference of each is its target.
        dev: Rows for the loss and for the ROUGE by which the best checkpoint is chosen.
        out: Folder of the model in the Hub's layout, written whole or not at all.
        checkpoints: Folder for checkpoints; those of an equal training that was killed are gone on from, with the
            same result as if it had not been. Removed at the end.
        log: Called with a step and its measurements as they come.

    Raises UserError for whatever the preflight finds.
    """
    started = time.perf_counter()
    # Its warnings are of what is done on purpose here: tied weights, no loss type, a spec of one's own.
    logging.set_verbosity_error()
    spec = ModelSpec.of(name, member)
    set_seed(seed)
    model = build_model(name, member, tokenizer)
    preflight.check(spec, member, model, tokenizer, [(row.dialogue, row.summaries[0]) for row in train[:8]], out)
    summarizer = TorchSummarizer(model, tokenizer, spec)
    data = encode(train, tokenizer, spec, member.max_target_tokens)
    fingerprint = _fingerprint(name, member, seed, train, dev)
    resumable = _resumable(checkpoints, fingerprint)
    arguments = _arguments(member, seed, checkpoints, len(train))
    trainer = SummaryTrainer(
        model=model,
        args=arguments,
        train_dataset=data,
        eval_dataset=encode(dev, tokenizer, spec, member.max_target_tokens),
        data_collator=DataCollatorForSeq2Seq(tokenizer, model=model if spec.family == "seq2seq" else None),
        callbacks=[EarlyStoppingCallback(member.early_stopping_patience), Progress(log)],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.remove_callback(ProgressCallback)
    trainer.summarizer = summarizer
    trainer.dev = list(dev[: member.evaluation_dialogues])
    trainer.member = member
    with warnings.catch_warnings():
        # Checkpoints are told apart by their step here, never by their files' times.
        warnings.filterwarnings("ignore", message="mtime may not be reliable")
        trainer.train(resume_from_checkpoint=resumable)

    history = trainer.state.log_history
    with atomic_path(out) as work:
        model.save_pretrained(work, safe_serialization=True)
        tokenizer.save_pretrained(work)
        save_spec(work, spec)
    shutil.rmtree(checkpoints, ignore_errors=True)
    return Training(metrics=_metrics(trainer, time.perf_counter() - started), curves=_curves(history))


class SummaryTrainer(Trainer):
    """Trainer whose evaluation also writes summaries and scores them."""

    summarizer: TorchSummarizer
    dev: list[Dialogue]
    member: Member

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochLengthGroupedSampler:
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        lengths = [len(ids) for ids in rows["input_ids"]]
        return EpochLengthGroupedSampler(self.args.train_batch_size, lengths, self.args.seed)

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Add the combined ROUGE of greedy summaries to what the Trainer measures."""
        output: Any = super().evaluation_loop(*args, **kwargs)
        if not math.isfinite(output.metrics["eval_loss"]):
            raise UserError(
                f"members.{self.summarizer.spec.member}: after {self.state.global_step} steps the dev loss is "
                f"{output.metrics['eval_loss']}: lower its learning_rate, {self.member.learning_rate:g}."
            )
        self.summarizer.model.eval()
        summaries = self.summarizer.summarize([row.dialogue for row in self.dev])
        scores = rouge(
            summaries.texts,
            [row.summaries for row in self.dev],
            granularity=self.member.evaluation_granularity,
            multi_reference="mean",
            weights=Scoring().weights,
        )
        output.metrics["eval_combined"] = float(scores["combined"].mean())
        return output


class Progress(TrainerCallback):
    """A bar over the steps with an estimate, a line for each evaluation, and the caller's log."""

    def __init__(self, log: Logger | None) -> None:
        self.log = log
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar; what was measured before a kill is told again, since the run that heard it is gone."""
        from tqdm import tqdm

        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="training", unit="step")
        for row in state.log_history:
            self._tell(row)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass on what was measured."""
        row = state.log_history[-1]
        self._tell(row)
        if "eval_combined" in row:
            self.bar.write(
                f"epoch {row['epoch']:.1f}: dev loss {row['eval_loss']:.3f}, dev ROUGE {row['eval_combined']:.4f}"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def _tell(self, row: Mapping[str, float]) -> None:
        if self.log is not None:
            self.log(int(row["step"]), {key: row[key] for key in MEASURED if key in row})


def _arguments(member: Member, seed: int, checkpoints: Path, rows: int) -> TrainingArguments:
    updates = math.ceil(math.ceil(rows / member.batch_size) / member.gradient_accumulation_steps)
    # A checkpoint falls on a logged step, so that a resumed training logs what the whole one would have.
    logged = max(1, int(updates * member.num_epochs) // member.evaluations // LOGGED)
    every = max(1, int(updates * member.num_epochs) // member.evaluations // logged) * logged
    bf16 = member.precision == "bf16" or (
        member.precision == "auto" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    )
    return TrainingArguments(
        output_dir=str(checkpoints),
        seed=seed,
        data_seed=seed,
        learning_rate=member.learning_rate,
        per_device_train_batch_size=member.batch_size,
        per_device_eval_batch_size=member.batch_size,
        dataloader_pin_memory=torch.cuda.is_available(),
        gradient_accumulation_steps=member.gradient_accumulation_steps,
        num_train_epochs=member.num_epochs,
        warmup_ratio=member.warmup_ratio,
        weight_decay=member.weight_decay,
        label_smoothing_factor=member.label_smoothing,
        lr_scheduler_type=member.lr_scheduler_type,
        max_grad_norm=member.max_grad_norm,
        bf16=bf16,
        group_by_length=True,
        prediction_loss_only=True,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        logging_strategy="steps",
        logging_steps=logged,
        load_best_model_at_end=True,
        metric_for_best_model="eval_combined",
        greater_is_better=True,
        disable_tqdm=True,
        report_to=[],
    )


def _fingerprint(
    name: str, member: Member, seed: int, train: Sequence[Dialogue], dev: Sequence[Dialogue]
) -> dict[str, Any]:
    """Return what two trainings must share for one to go on from the other's checkpoint."""
    digest = hashlib.sha256()
    for row in (*train, *dev):
        digest.update(f"{row.fname}\0{row.dialogue}\0{row.summaries}\0".encode())
    return {
        "member": name,
        "params": member.model_dump(),
        "seed": seed,
        "data": digest.hexdigest(),
        "torch": torch.__version__,
    }


def _resumable(checkpoints: Path, fingerprint: dict[str, Any]) -> str | None:
    """Return the last whole checkpoint of an equal training; checkpoints of any other are removed."""
    note = checkpoints / "training.json"
    same = note.is_file() and json.loads(note.read_text(encoding="utf-8")) == json.loads(json.dumps(fingerprint))
    if not same:
        shutil.rmtree(checkpoints, ignore_errors=True)
        write_json(note, fingerprint)
        return None
    folders = sorted(checkpoints.glob("checkpoint-*"), key=lambda folder: int(folder.name.split("-")[1]))
    for folder in reversed(folders):
        # The Trainer writes its state last: without it, the kill came while the checkpoint was being written.
        try:
            json.loads((folder / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(folder)
        else:
            return str(folder)
    return None


def _curves(history: Sequence[Mapping[str, float]]) -> list[dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        measured = {key: entry[key] for key in MEASURED if key in entry}
        if measured:
            rows.setdefault(int(entry["step"]), {"step": entry["step"], "epoch": entry["epoch"]}).update(measured)
    return [rows[step] for step in sorted(rows)]


def _metrics(trainer: Any, seconds: float) -> dict[str, Any]:
    import resource

    history = trainer.state.log_history
    evaluations = [row for row in history if "eval_combined" in row]
    best = max(evaluations, key=lambda row: row["eval_combined"])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if torch.cuda.is_available():
        memory = torch.cuda.max_memory_allocated() / 2**20
    ran = next(row for row in reversed(history) if "train_runtime" in row)
    return {
        "train_loss": next(row["loss"] for row in reversed(history) if "loss" in row),
        "eval_loss": best["eval_loss"],
        "eval_combined": best["eval_combined"],
        "best_step": best["step"],
        "steps": trainer.state.global_step,
        "epochs": round(float(trainer.state.epoch or 0.0), 3),
        "parameters": sum(parameter.numel() for parameter in trainer.model.parameters()),
        "seconds": round(seconds, 1),
        "samples_per_second": round(ran["train_samples_per_second"], 1),
        "peak_memory_mb": round(memory),
        "device": str(trainer.args.device),
    }
