"""Training a member in this process, or in several that this one starts, follows and ends: one for each device.

This process keeps what there must be one of: the lock of the checkpoints, the MLflow run, the outputs. The others, the
ranks, are torch.distributed's; they send what they measure, their result or their error through a pipe.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from yoyak.errors import UserError
from yoyak.params import TrainedMember
from yoyak.process import ignore_interrupts
from yoyak.training.arguments import check_devices
from yoyak.training.isolation import GRACE
from yoyak.training.progress import MetricLogger
from yoyak.training.rank_process import Job, Message, run_rank
from yoyak.training.results import TrainingResult

if TYPE_CHECKING:
    from yoyak.training.watchdog import Fail

FAILED_SECONDS = 10.0
"""How long a rank may take to end before it is killed, once another one has failed and it may wait for that one."""


def train_on_devices(
    name: str,
    member: TrainedMember,
    *,
    log: MetricLogger | None = None,
    fail: Fail | None = None,
    **arguments: Any,
) -> TrainingResult:
    """Train a member in as many processes as its ``launcher`` says; the arguments are those of `train_member`.

    A rank that hangs ends itself, and this process fails in the usual way: it does not need ``fail``.

    Raises what a rank raised, and UserError if one was killed; all have ended then.
    """
    check_launch(name)
    check_devices(name, member)
    count = member.launcher.processes
    gpus = torch.cuda.device_count()
    if gpus > count:
        print(
            f"training on the first {count} of {gpus} visible GPUs: CUDA_VISIBLE_DEVICES selects others, and "
            f"members.{name}.launcher.processes is how many are used",
            file=sys.stderr,
        )
    if count == 1:
        # Only where it trains: importing it takes seconds, and half a gigabyte.
        from yoyak.training.trainer import train_member

        return train_member(name, member, log=log, fail=fail, **arguments)
    job = Job(arguments=pickle.dumps({"name": name, "member": member, **arguments}))
    with tempfile.TemporaryDirectory(prefix="yoyak-") as folder:
        ranks: list[_Rank] = []
        try:
            for number in range(count):
                ranks.append(_start_rank(number, count, Path(folder) / "rendezvous", job))
            return _follow(name, ranks, log)
        finally:
            # They are asked to end and save a checkpoint.
            _end(ranks, GRACE)


def check_launch(name: str, environment: Mapping[str, str] | None = None) -> None:
    """Raise UserError if this is one of several processes that something else has started."""
    environment = os.environ if environment is None else environment
    processes = environment.get("WORLD_SIZE", "1")
    if processes != "1":
        raise UserError(
            f"`yoyak train` starts its own processes, but WORLD_SIZE is {processes}: run it without torchrun or "
            f"accelerate, and set members.{name}.launcher.processes in params.yaml."
        )


@dataclass(slots=True, kw_only=True)
class _Rank:
    """One of the processes, and what it has sent."""

    process: BaseProcess
    pipe: Connection
    error: tuple[float, Exception] | None = None
    """When it failed, and of what."""
    result: TrainingResult | None = field(default=None, repr=False)


def _start_rank(number: int, count: int, rendezvous: Path, job: Job) -> _Rank:
    # A fresh interpreter: torch's threads and CUDA do not survive a fork.
    context = multiprocessing.get_context("spawn")
    pipe, other_end = context.Pipe(duplex=False)
    process = context.Process(target=run_rank, args=(number, count, str(rendezvous), job, other_end))
    process.start()
    # Else this end would never see that the other one is closed.
    other_end.close()
    return _Rank(process=process, pipe=pipe)


def _follow(name: str, ranks: Sequence[_Rank], log: MetricLogger | None) -> TrainingResult:
    """Receive until all have ended; return the result of the first one."""
    running = {rank.pipe: rank for rank in ranks}
    while running:
        for pipe in wait(list(running)):
            rank = running[pipe]  # type: ignore[index]
            if _receive(rank, log):
                continue
            del running[rank.pipe]
            rank.process.join()
            if rank.process.exitcode:
                codes = [each.process.exitcode for each in ranks]
                _end(ranks, FAILED_SECONDS)
                # The first one's progress bar stands in the last line.
                print(file=sys.stderr)
                raise _find_cause(name, ranks, codes)
    result = ranks[0].result
    assert result is not None, "it ends with exit code 0 only after it has sent its result"
    return result


def _receive(rank: _Rank, log: MetricLogger | None) -> bool:
    """Handle one message; return whether there was one, which there is not once the process has ended."""
    try:
        message: Message = rank.pipe.recv()
    except (EOFError, ConnectionResetError):
        return False
    if message.error is not None:
        rank.error = (message.time, message.error)
    elif message.result is not None:
        rank.result = message.result
    elif log is not None:
        log(message.step, message.metrics or {})
    return True


def _find_cause(name: str, ranks: Sequence[_Rank], codes: Sequence[int | None]) -> Exception:
    """Return what ended the training: where one rank fails, the others lose their connection to it and fail too.

    ``codes`` are the exit codes of the ranks that had ended before the others were.
    """
    for rank in ranks:
        while rank.pipe.poll() and _receive(rank, None):
            pass
    errors = sorted((rank.error for rank in ranks if rank.error), key=lambda error: error[0])
    failed = {number: code for number, code in enumerate(codes) if code}
    killed = {number: code for number, code in failed.items() if code < 0}
    if errors and not killed:
        return next((error for _, error in errors if isinstance(error, UserError)), errors[0][1])
    number, code = next(iter((killed or failed).items()))
    how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return UserError(
        f"members.{name}: rank {number} of {len(ranks)} {how}, and the others were ended with it: run it again to go "
        f"on from the last checkpoint, with a smaller batch_size if memory was short."
    )


def _end(ranks: Sequence[_Rank], grace: float) -> None:
    """End the ranks that still run: by SIGTERM, and those that still run after ``grace`` seconds by force."""
    deadline = time.monotonic() + grace
    with ignore_interrupts():
        for rank in ranks:
            if rank.process.is_alive():
                rank.process.terminate()
        for rank in ranks:
            rank.process.join(max(0.0, deadline - time.monotonic()))
            if rank.process.is_alive():
                rank.process.kill()
                rank.process.join()
