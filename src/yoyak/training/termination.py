"""Ending a training by SIGTERM: it finishes its update and saves a checkpoint, from which the next run goes on.

That run gives the weights and the curves of one that was never stopped. The Trainer logs the mean loss since the last
log, and its sum would end with the process: a checkpoint between two logs holds it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from transformers import Trainer, TrainerCallback
from transformers.trainer_callback import ExportableState

from yoyak.process import TERMINATED, Terminated
from yoyak.training import ranks


class SaveOnSigterm(TrainerCallback):
    """Saves a checkpoint at the end of the update in which SIGTERM arrives, and ends the process.

    If an evaluation is due there, or is under way, it is completed first: the next run would not repeat it.
    """

    def __init__(self) -> None:
        self.requested = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint. Not for an end of the training: the checkpoint would count as that of its end."""
        if ranks.world_size() > 1:
            # The signal may have reached another process in time for this update, and not yet this one.
            self.requested = bool(ranks.add_up(torch.tensor(float(self.requested), device=args.device)))
        if self.requested:
            control.should_save = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raise Terminated once the checkpoint is written."""
        if self.requested:
            raise Terminated(
                f"ended by SIGTERM after update {state.global_step} of {state.max_steps}; the next run goes on from "
                f"{args.output_dir}/checkpoint-{state.global_step}."
            )


@contextmanager
def save_on_sigterm(trainer: Trainer) -> Iterator[None]:
    """Let SIGTERM end the training in the block with a checkpoint; a second SIGTERM ends it at once.

    One of several processes that train together only ever saves: the one that started them passes the signal on, which
    may have reached them already, and kills those that take too long.

    Does nothing outside the main thread, which alone can handle signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    callback = SaveOnSigterm()
    trainer.add_callback(callback)

    def request(signum: int, frame: FrameType | None) -> None:
        if callback.requested and ranks.world_size() == 1:
            raise SystemExit(TERMINATED)
        callback.requested = True

    previous = signal.signal(signal.SIGTERM, request)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
    if callback.requested:
        raise Terminated(f"ended by SIGTERM; the next run goes on from the checkpoints in {trainer.args.output_dir}.")


class UnloggedLoss(TrainerCallback, ExportableState):
    """The sum of the losses since the last log, which the Trainer saves and restores with its state."""

    def __init__(self) -> None:
        self.value = 0.0

    def state(self) -> dict[str, Any]:
        """Return what the Trainer writes to trainer_state.json."""
        return {"args": {}, "attributes": {"value": self.value}}


class ResumableTrainer(Trainer):
    """A Trainer that can be resumed between two logs."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.add_callback(UnloggedLoss())
        self.loss_since_log: Any = None

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Add the losses that were not logged before the interruption to the first one after it."""
        loss = super().training_step(*args, **kwargs)
        unlogged = self._unlogged_loss()
        if unlogged.value:
            loss, unlogged.value = loss + unlogged.value, 0.0
            self._globalstep_last_logged = max(
                (int(row["step"]) for row in self.state.log_history if "loss" in row), default=0
            )
        return loss

    def _maybe_log_save_evaluate(self, tr_loss: Any, *args: Any, **kwargs: Any) -> None:
        # The Trainer sets this tensor to zero when it logs.
        self.loss_since_log = tr_loss
        super()._maybe_log_save_evaluate(tr_loss, *args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        unlogged = self._unlogged_loss()
        unlogged.value = float(self._nested_gather(self.loss_since_log).mean())
        super()._save_checkpoint(*args, **kwargs)
        unlogged.value = 0.0

    def _unlogged_loss(self) -> UnloggedLoss:
        # Resuming replaces the callback.
        return next(callback for callback in self.callback_handler.callbacks if isinstance(callback, UnloggedLoss))
