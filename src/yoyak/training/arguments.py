"""A member's params as the arguments of transformers' Trainer."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from yoyak.errors import UserError
from yoyak.models.precision import Decision, find_device
from yoyak.params import TrainedMember
from yoyak.training import ranks

LOGS_PER_EVALUATION = 5
"""Losses logged for each evaluation."""

NEEDS_GPU = ("adamw_bnb_8bit", "paged_adamw_32bit", "paged_adamw_8bit")
"""Optimizers of bitsandbytes, which run on GPUs only."""


@dataclass
class SingleDeviceArguments(TrainingArguments):
    """TrainingArguments for a process with one device, of which ``per_device_train_batch_size`` is the batch of all.

    transformers wraps the model in DataParallel when one process sees several GPUs: the batch size, and with it the
    number of updates and evaluations, would then differ from what params.yaml says.
    """

    sharded: bool = False
    """Whether each process keeps only a share of the weights."""

    @property
    def n_gpu(self) -> int:
        """Number of GPUs that this process trains on: at most one, the current one."""
        return min(super().n_gpu, 1)

    @property
    def place_model_on_device(self) -> bool:
        """Whether the Trainer moves the whole model to the device, which may not hold it."""
        return super().place_model_on_device and not self.sharded


def check_optimizer(name: str, member: TrainedMember, device: str) -> None:
    """Raise UserError if the member's optimizer does not run on a device of this type."""
    if member.optim in NEEDS_GPU and device != "cuda":
        raise UserError(
            f"members.{name}.optim: {member.optim} needs a CUDA GPU, and this is {device}: use adamw_torch."
        )


def check_devices(name: str, member: TrainedMember) -> None:
    """Raise UserError if there are fewer GPUs than processes, which share the CPU where there is no GPU."""
    count = member.launcher.processes
    where, device = f"members.{name}.launcher.processes is {count}", find_device().type
    gpus = torch.cuda.device_count() if device == "cuda" else 0
    if device == "mps" and count > 1:
        raise UserError(f"{where}, but there is one GPU, Apple's: use 1.")
    if 0 < gpus < count:
        raise UserError(f"{where}, but {gpus} GPU{'s are' if gpus > 1 else ' is'} visible: use at most {gpus}.")


def advise_less_memory(member: TrainedMember) -> str:
    """Return what to turn on so that a member takes less memory, what helps most first."""
    together, sharded = member.launcher.processes > 1, member.launcher.strategy == "fsdp"
    if member.adapter is None and member.checkpoint is not None and not sharded:
        return "train an adapter (adapter: {})"
    if member.adapter is not None and member.adapter.quantization is None:
        return "keep the checkpoint in 4 bits (adapter: {quantization: {}})"
    if not member.gradient_checkpointing:
        return "set gradient_checkpointing: true"
    if member.adapter is None and together and not sharded:
        return "share the weights among the processes (launcher.strategy: fsdp)"
    if member.loss_chunk_tokens is None and not member.torch_compile and not together:
        return "set loss_chunk_tokens: 128"
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
    _reset_accelerate()
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
        # Else transformers refuses bf16 on a CPU.
        use_cpu=find_device().type == "cpu",
        bf16=precision.precision == "bf16",
        fp16=precision.scaler,
        # The fused one does the same in fewer passes through memory.
        optim="adamw_torch_fused" if member.optim == "adamw_torch" else member.optim,
        gradient_checkpointing=member.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if member.gradient_checkpointing else None,
        torch_compile=member.torch_compile,
        # The Trainer cannot read them from the signature of a model with an adapter.
        label_names=["labels"],
        group_by_length=member.group_by_length,
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
        **_distributed_arguments(member),
    )


def _reset_accelerate() -> None:
    """Undo what the arguments of another training of this process, or a shell, have left in the environment.

    transformers hands precision and compilation to accelerate there, and never takes them back.
    """
    os.environ["ACCELERATE_MIXED_PRECISION"] = "no"
    for variable in [variable for variable in os.environ if variable.startswith("ACCELERATE_DYNAMO_")]:
        del os.environ[variable]


def _distributed_arguments(member: TrainedMember) -> dict[str, Any]:
    if ranks.world_size() == 1:
        return {}
    gpu = torch.cuda.is_available()
    return {
        "sharded": member.launcher.strategy == "fsdp",
        "ddp_backend": "nccl" if gpu else "gloo",
        # Models skip layers at random (BART's layerdrop), and adapters leave parts of a model without a gradient.
        "ddp_find_unused_parameters": True,
        # `SummaryTrainer` does it, and for the models too whose loss is a mean over the batch.
        "average_tokens_across_devices": False,
    }
