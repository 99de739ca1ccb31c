"""A training in a process of its own, so that nothing that ends it ends the pipeline.

A machine that runs out of memory kills the process, and a crash in C code ends it too: neither can be caught in it.
"""

from __future__ import annotations

import signal
import subprocess
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from yoyak.errors import UserError, first_line
from yoyak.files import write_text
from yoyak.process import TERMINATED, exit_on_sigterm, stop

INTERRUPTED = 130
"""Exit code after Ctrl-C."""
GRACE = 60.0
"""Seconds in which a training that is asked to end may save a checkpoint."""


@contextmanager
def errors_logged(log: Path) -> Iterator[None]:
    """Write an error that leaves the block to a file, which is removed first: a sentence, then the traceback."""
    log.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {first_line(error)}"
        write_text(log, f"{' '.join(sentence.split())}\n\n{traceback.format_exc()}")
        raise


def run_isolated(command: Sequence[str], log: Path) -> str:
    """Run a command in a process of its own; return why it failed, empty if it did not.

    Args:
        log: Where it writes its error, with `errors_logged`; how it ended is written there if it cannot.

    Raises SystemExit or KeyboardInterrupt if a person has ended it, which is no failure.
    """
    log.unlink(missing_ok=True)
    process = subprocess.Popen(command)
    with exit_on_sigterm():
        try:
            code = process.wait()
        finally:
            stop(process, grace=GRACE)
    if code == 0:
        return ""
    if code in (INTERRUPTED, -signal.SIGINT):
        raise KeyboardInterrupt
    if code in (TERMINATED, -signal.SIGTERM):
        raise SystemExit(TERMINATED)
    if not log.is_file():
        write_text(log, f"{_describe_exit(code)}\n")
    return log.read_text(encoding="utf-8").partition("\n")[0]


def _describe_exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "its process was killed: most likely the machine's memory does not hold it"
    if code < 0:
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process ended with exit code {code}"
