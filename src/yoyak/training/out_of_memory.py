"""Training with a smaller batch where memory does not hold the one of params.yaml."""

from __future__ import annotations

import gc
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

from yoyak.decoding.torch import ran_out_of_memory
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params import TrainedMember
from yoyak.training.arguments import advise_less_memory
from yoyak.training.recovery import has_finished, remove_checkpoints
from yoyak.training.results import TrainingResult

BATCH_FILE, BATCH = "batch.json", ("batch_size", "gradient_accumulation_steps", "max_batch_tokens")


def retry_with_smaller_batches(
    name: str, member: TrainedMember, checkpoints: Path, train: Callable[[TrainedMember], TrainingResult]
) -> TrainingResult:
    """Train a member; if memory runs out, start over with half the batch and as many rows to an update.

    Raises UserError if not even one row fits, or if a training had ended: its checkpoints stay.
    """
    while True:
        try:
            return train(member)
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            if has_finished(checkpoints):
                raise UserError(
                    f"members.{name}: memory ran out after the last update, while its model was saved: make room and "
                    "run it again, which goes on from there."
                ) from error
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
    """Return the member with half the batch and as many rows to an update; None if a batch is one row per process.

    Batches that are computed in parts have parts of half the size.
    """
    if member.batch_size <= member.launcher.processes:
        return None
    batch_size = max(member.batch_size // 2, member.launcher.processes)
    steps = math.ceil(member.batch_size * member.gradient_accumulation_steps / batch_size)
    tokens = member.max_batch_tokens and max(1, member.max_batch_tokens // 2)
    return member.model_copy(
        update={"batch_size": batch_size, "gradient_accumulation_steps": steps, "max_batch_tokens": tokens}
    )


def keep_batch(member: TrainedMember, checkpoints: Path, *, reduced: bool) -> TrainedMember:
    """Return the member with the batch that the interrupted run was reduced to; store that of one that is reduced now.

    A run that is resumed would otherwise begin with a batch that is known not to fit.
    """
    path = checkpoints / BATCH_FILE
    if reduced:
        write_json(path, {key: getattr(member, key) for key in BATCH})
    elif path.is_file():
        return member.model_copy(update=json.loads(path.read_text(encoding="utf-8")))
    return member
