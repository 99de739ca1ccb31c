"""The curves of a training as TensorBoard's event files: `tensorboard --logdir logs/tensorboard`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from importlib.util import find_spec

from yoyak.errors import UserError
from yoyak.project import TENSORBOARD
from yoyak.training.progress import MetricLogger


def check_tensorboard(where: str) -> None:
    """Raise UserError if the package tensorboard is not installed. ``where`` is the member's key in params.yaml."""
    if find_spec("tensorboard") is None:
        raise UserError(
            f"{where}.tensorboard needs the package tensorboard: `pip install tensorboard`, or leave it out."
        )


def add_event_files(log: MetricLogger | None, where: str, member: str) -> MetricLogger:
    """Return a logger that also writes event files, to a folder of this training's own.

    Raises UserError if the package tensorboard is not installed.
    """
    check_tensorboard(where)
    from torch.utils.tensorboard import SummaryWriter

    # A resumed training logs again what was measured before, and so has all of its curves in one folder.
    writer = SummaryWriter(str(TENSORBOARD / member / f"{datetime.now():%Y%m%d-%H%M%S-%f}"))

    def log_both(step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            writer.add_scalar(name, value, step)
        writer.flush()
        if log is not None:
            log(step, metrics)

    return log_both
