"""Parts over the processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait

from yoyak.batch_scoring.results import PartResult
from yoyak.batch_scoring.sources import Part
from yoyak.batch_scoring.worker import Job, score_part
from yoyak.errors import UserError
from yoyak.process import ignore_interrupts


def score_in_processes(job: Job, parts: Sequence[Part], workers: int) -> Generator[PartResult]:
    """Yield the result of each part as soon as it is done; when the caller leaves off, the processes are ended.

    Raises UserError for the first part that fails, and if the system ends a process.
    """
    # A fork would copy locks of threads that it does not copy.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(parts)), mp_context=context, initializer=_start)
    try:
        futures = [pool.submit(score_part, job, part) for part in parts]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise UserError(
            "A process was ended by the system, most likely for want of memory: run the command again with fewer "
            "--workers, it goes on from the parts that are done."
        ) from error
    finally:
        with ignore_interrupts():
            for process in multiprocessing.active_children():
                process.kill()
            pool.shutdown(cancel_futures=True)


def _start() -> None:
    """Leave Ctrl-C to the process that gives out the parts, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
