"""A member's params as the arguments of transformers' Trainer."""

from __future__ import annotations

import math
from pathlib import Path

import torch

from yoyak.errors import UserError
from yoyak.models.precision import Decision
from yoyak.params import TrainedMember
from yoyak.training.launch import SingleDeviceArguments

LOGS_PER_EVALUATION = 5
"""Losses logged for each evaluation."""


NEEDS_GPU = ("adamw_bnb_8bit", "paged_adamw_32bit", "paged_adamw_8bit")
"""Optimizers of bitsandbytes, which run on GPUs only."""


def check_optimizer(name: str, member: TrainedMember, device: str) -> None:
    """Raise UserError if the member's optimizer does not run on a device of this type."""
    if member.optim in NEEDS_GPU and device != "cuda":
        raise UserError(
            f"members.{name}.optim: {member.optim} needs a CUDA GPU, and this is {device}: use adamw_torch."
        )


def advise_less_memory(member: TrainedMember) -> str:
    """Return what to turn on so that a member takes less memory, what helps most first."""
    if member.adapter is None and member.checkpoint is not None:
        return "train an adapter (adapter: {})"
    if member.adapter is not None and member.adapter.quantization is None:
        return "keep the checkpoint in 4 bits (adapter: {quantization: {}})"
    if not member.gradient_checkpointing:
        return "set gradient_checkpointing: true"
    return "lower max_input_tokens, or choose a smaller model"


def build_arguments(
    member: TrainedMember, seed: int, checkpoints: Path, rows: int, precision: Decision
) -> SingleDeviceArguments:
    """Return the Trainer's arguments for training on ``rows`` rows, with at least one evaluation on the way."""
    updates_per_epoch = math.ceil(math.ceil(rows / member.batch_size) / member.gradient_accumulation_steps)
    updates = int(updates_per_epoch * member.num_epochs)
    # Checkpoints are saved at logged steps, so that a resumed run logs what an uninterrupted one would have.
    logging_steps = max(1, updates // member.evaluations // LOGS_PER_EVALUATION)
    evaluation_steps = max(1, updates // member.evaluations // logging_steps) * logging_steps
    return SingleDeviceArguments(
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
        bf16=precision.precision == "bf16",
        fp16=precision.scaler,
        optim=member.optim,
        gradient_checkpointing=member.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if member.gradient_checkpointing else None,
        torch_compile=member.torch_compile,
        # The Trainer cannot read them from the signature of a model with an adapter.
        label_names=["labels"],
        group_by_length=True,
        prediction_loss_only=True,
        eval_strategy="steps",
        eval_steps=evaluation_steps,
        save_strategy="steps",
        save_steps=evaluation_steps,
        save_total_limit=2,
        # A resumed run continues the patience count of early stopping.
        restore_callback_states_from_checkpoint=True,
        logging_strategy="steps",
        logging_steps=logging_steps,
        load_best_model_at_end=True,
        metric_for_best_model="eval_combined",
        greater_is_better=True,
        disable_tqdm=True,
        report_to=[],
    )
