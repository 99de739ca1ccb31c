"""Which device a training runs on: one process uses one device.

Training with several processes (accelerate, torchrun) belongs here too; until it exists, it is refused instead of
letting each process write the same files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from transformers import TrainingArguments

from yoyak.errors import UserError


@dataclass
class SingleDeviceArguments(TrainingArguments):
    """TrainingArguments of one process with one device.

    transformers wraps the model in DataParallel where it sees several GPUs: each batch, and with it the number of
    updates and evaluations, would be another one than params.yaml says.
    """

    @property
    def n_gpu(self) -> int:
        """Number of GPUs that this process trains on: at most one, the current one."""
        return min(super().n_gpu, 1)


def check_launch(environment: Mapping[str, str] | None = None) -> None:
    """Raise UserError where this is one of several processes; say on stderr which of several GPUs is used."""
    environment = os.environ if environment is None else environment
    processes = environment.get("WORLD_SIZE", "1")
    if processes != "1":
        raise UserError(
            f"`yoyak train` runs as one process, but WORLD_SIZE is {processes}: start it without torchrun or "
            f"accelerate, and choose its GPU with CUDA_VISIBLE_DEVICES."
        )
    visible = torch.cuda.device_count()
    if visible > 1:
        print(
            f"training on the first of {visible} visible GPUs: choose another one with CUDA_VISIBLE_DEVICES",
            file=sys.stderr,
        )
