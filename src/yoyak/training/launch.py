"""Launching: training uses one process and one device.

Multi-process training (accelerate, torchrun) would belong here too. It is not supported yet, and is rejected because
every process would write the same files.
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
    """TrainingArguments for one process on one device.

    transformers wraps the model in DataParallel when it sees several GPUs: the batch size, and with it the number of
    updates and evaluations, would then differ from what params.yaml says.
    """

    @property
    def n_gpu(self) -> int:
        """Number of GPUs that this process trains on: at most one, the current one."""
        return min(super().n_gpu, 1)


def check_launch(environment: Mapping[str, str] | None = None) -> None:
    """Raise UserError if this is one of several processes; print which GPU is used if several are visible."""
    environment = os.environ if environment is None else environment
    processes = environment.get("WORLD_SIZE", "1")
    if processes != "1":
        raise UserError(
            f"`yoyak train` runs as one process, but WORLD_SIZE is {processes}: start it without torchrun or "
            f"accelerate, and select the GPU with CUDA_VISIBLE_DEVICES."
        )
    gpus = torch.cuda.device_count()
    if gpus > 1:
        print(
            f"training on the first of {gpus} visible GPUs; set CUDA_VISIBLE_DEVICES to use another one",
            file=sys.stderr,
        )
