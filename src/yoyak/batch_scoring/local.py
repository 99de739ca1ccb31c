"""Parts over the processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_end
from multiprocessing.sharedctypes import Synchronized

from yoyak.batch_scoring.results import PartResult
from yoyak.batch_scoring.sources import Part
from yoyak.batch_scoring.worker import Job, score_part
from yoyak.errors import UserError
from yoyak.process import ignore_interrupts

_POLL = 0.5
"""Seconds between two looks at how far the processes are."""
_IN_ADVANCE = 2
"""Parts that are given out for each process, so that none waits for its next one."""


def score_in_processes(
    job: Job, parts: Sequence[Part], workers: int, advance: Callable[[int], object]
) -> Generator[PartResult]:
    """Yield the result of each part as soon as it is done; when the caller leaves off, the processes are ended.

    ``advance`` is called with the number of rows that were done since the last call. Raises UserError for the first
    part that fails, and if the system ends a process.
    """
    # A fork would copy locks of threads that it does not copy.
    context = multiprocessing.get_context("spawn")
    rows = context.Value("q", 0)
    workers = min(workers, len(parts))
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start, initargs=(rows,))
    try:
        left = list(reversed(parts))
        running: set[Future[PartResult]] = set()
        seen = 0
        while left or running:
            while left and len(running) < _IN_ADVANCE * workers:
                running.add(pool.submit(_score, job, left.pop()))
            done, running = wait(running, timeout=_POLL, return_when=FIRST_COMPLETED)
            seen, before = rows.value, seen
            advance(seen - before)
            for future in done:
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


_rows_done: list[Synchronized[int]] = []
"""In a process of the pool: what it adds to, which the other processes share."""


def _score(job: Job, part: Part) -> PartResult:
    return score_part(job, part, _advance)


def _advance(rows: int) -> None:
    [counter] = _rows_done
    with counter.get_lock():
        counter.value += rows


def _start(rows: Synchronized[int]) -> None:
    """Leave Ctrl-C to the process that gives out the parts, and end with it."""
    _rows_done.append(rows)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait_for_end([parent.sentinel])
        os._exit(1)
