"""One of the processes that train a member together, started by `launch`.

Importing this module imports nothing heavy: what torch reads from the environment has to be set before.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection

from yoyak.cpu import cores
from yoyak.training.results import TrainingResult

TIMEOUT = timedelta(hours=1)
"""How long ranks wait for one that is busy. Of one that has ended they know at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What ranks are to do."""

    arguments: bytes
    """The arguments of `train_member`, pickled; reading them imports transformers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a rank sends: metrics at a step, its result, or its error."""

    time: float
    step: int = 0
    metrics: Mapping[str, float] | None = None
    result: TrainingResult | None = None
    error: Exception | None = None


def run_rank(number: int, count: int, rendezvous: str, job: Job, pipe: Connection) -> None:
    """Train as one of ``count`` ranks, which find each other by the file ``rendezvous``.

    The first one prints and saves, and sends its metrics and the result.
    """
    # Ctrl-C reaches all processes of a terminal: the one that started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _set_environment(number, count)
    if number:
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    try:
        result = _train(number, count, rendezvous, job, pipe)
    except Exception as error:
        error.add_note(f"In rank {number}:\n{traceback.format_exc()}")
        pipe.send(Message(time=time.time(), error=_picklable(error)))
        pipe.close()
        # Leaving in order would wait for connections to ranks that are waiting for this one.
        os._exit(1)
    if number == 0:
        pipe.send(Message(time=time.time(), result=result))


def _train(number: int, count: int, rendezvous: str, job: Job, pipe: Connection) -> TrainingResult:
    from yoyak.models.libraries import import_trainer

    import_trainer()
    import torch
    from torch import distributed
    from tqdm import tqdm

    from yoyak.training.trainer import train_member

    def log(step: int, metrics: Mapping[str, float]) -> None:
        pipe.send(Message(time=time.time(), step=step, metrics=dict(metrics)))

    # Its own lock is a semaphore of the system's, which is left behind by a process that is ended.
    tqdm.set_lock(threading.RLock())
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(number)
    distributed.init_process_group(
        # Objects and the checkpoints of a sharded model go through the CPU.
        "cpu:gloo,cuda:nccl" if gpu else "gloo",
        init_method=f"file://{rendezvous}",
        rank=number,
        world_size=count,
        timeout=TIMEOUT,
    )
    result = train_member(**pickle.loads(job.arguments), log=log)
    distributed.destroy_process_group()
    return result


def _set_environment(number: int, count: int) -> None:
    """Set what torch, accelerate and transformers read."""
    os.environ |= {
        "RANK": str(number),
        "LOCAL_RANK": str(number),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    # Each would otherwise have a thread for every core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // count)))
    # Warnings of the distributed code, once for each rank.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: nobody would end it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _picklable(error: Exception) -> Exception:
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # Exceptions with arguments of their own fail in many ways.
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.__notes__ = getattr(error, "__notes__", [])
        return plain
    return error
