"""Ending a process that hangs. It may hang in C code, which no exception reaches, so the process ends as a whole.

A thread prints one sentence, writes the stacks of all threads to the log, has the MLflow run marked as failed and ends
the process, and the system takes its memory back. Where it cannot, since the code that hangs does not let other threads
run or the tracking store hangs too, a thread of faulthandler, which needs no interpreter, ends the process a little
later and prints the stacks to stderr.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from transformers import TrainerCallback

from yoyak.project import LOG

GRACE_SECONDS = 60.0
"""How long the first thread may take from the limit on."""
FAILED = 1
"""Exit code of a process that hung."""

Fail = Callable[[str], None]
"""Marks the run as failed, with a sentence."""


@contextmanager
def time_limit(where: str, seconds: float | None, fail: Fail | None = None) -> Iterator[Callable[[], None]]:
    """End the process if the block takes longer than ``seconds``, or until the function that it gets is called.

    Args:
        where: The key in params.yaml that sets the limit.
        seconds: None is no limit.
    """
    if seconds is None:
        yield lambda: None
        return
    sentence = f"{where}: it took longer than {seconds:g} seconds; raise the limit if that was not enough"
    timer = threading.Timer(seconds, _end_process, (sentence, fail))
    timer.daemon = True

    def lift() -> None:
        timer.cancel()
        faulthandler.cancel_dump_traceback_later()

    # A process without room for a thread is about to run out of memory, which is handled elsewhere.
    with suppress(RuntimeError):
        timer.start()
        # Not sys.stderr, which may have no file descriptor.
        faulthandler.dump_traceback_later(seconds + GRACE_SECONDS, exit=True, file=sys.__stderr__ or 2)
    try:
        yield lift
    finally:
        lift()


def _end_process(sentence: str, fail: Fail | None) -> None:
    log = _log_stacks(sentence)
    print(f"\n{sentence} (stacks: {log}).", file=sys.stderr, flush=True)
    if fail is not None:
        # Whatever a tracking store raises must not keep the process alive.
        with suppress(Exception):
            fail(sentence)
    os._exit(FAILED)


def _log_stacks(sentence: str) -> str:
    try:
        LOG.parent.mkdir(exist_ok=True)
        with LOG.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(sys.argv)}\n{sentence}\n")
            log.flush()
            faulthandler.dump_traceback(log, all_threads=True)
            log.write("\n")
    except OSError:
        return "not written, the folder is read-only"
    return str(LOG)


class LiftAfterFirstStep(TrainerCallback):
    """Lifts the limit on the first update once it is done."""

    def __init__(self, lift: Callable[[], None]) -> None:
        self.lift = lift

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Lift the limit."""
        self.lift()
