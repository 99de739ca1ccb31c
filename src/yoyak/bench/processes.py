"""Worker processes, one for each variant, as the bench sees them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from yoyak.errors import UserError

SETTLE = 0.05
"""Seconds before a turn: threads that wait in a loop for more work go to sleep in that time."""
PATIENCE = 20


class WorkerError(UserError):
    """A worker that could not load its model, or that ended."""


class Worker:
    """A process that has loaded one variant. It is idle, its threads asleep, but for the time of a request."""

    def __init__(self, variant: str, folder: Path, threads: int) -> None:
        self.variant = variant
        # It is read where the process ends unasked, and closed with it.
        self.errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        start = time.perf_counter()
        self.process = subprocess.Popen(
            # Without -P, folders of the project would stand before libraries of the same name.
            [sys.executable, "-P", "-m", "yoyak.bench.worker", variant, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
        )
        try:
            self.started = {**self._reply(), "start_seconds": time.perf_counter() - start}
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and return its answer."""
        return next(self.replies(**request))

    def replies(self, **request: Any) -> Iterator[dict[str, Any]]:
        """Send a request and yield its answers, as many as the caller takes."""
        time.sleep(SETTLE)
        assert self.process.stdin, "it is a pipe"
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise self._gone() from error
        while True:
            yield self._reply()

    def close(self) -> None:
        """End the process, whatever it is doing."""
        assert self.process.stdin and self.process.stdout, "they are pipes"
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout, "it is a pipe"
        line = self.process.stdout.readline()
        if not line:
            raise self._gone()
        value: dict[str, Any] = json.loads(line)
        if "error" in value:
            raise WorkerError(f"{self.variant} cannot be measured: {value['error'][:300].rstrip('.')}.")
        return value

    def _gone(self) -> WorkerError:
        code = self.process.wait(PATIENCE)
        self.errors.seek(0)
        said = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        reason = "it was killed, as by a system out of memory" if code == -9 else (said or [f"exit code {code}"])[-1]
        return WorkerError(f"The process of {self.variant} ended ({reason[:300].rstrip('.')}).")


@contextmanager
def started(
    folders: Mapping[str, Path], threads: int, optional: Sequence[str]
) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Yield a worker for each variant, started one after the other, and why those that cannot run do not.

    Raises WorkerError where it is not one of the ``optional`` ones.
    """
    with ExitStack() as stack:
        workers, failed = {}, {}
        for variant, folder in folders.items():
            try:
                workers[variant] = Worker(variant, folder, threads)
            except WorkerError as error:
                if variant not in optional:
                    raise
                failed[variant] = str(error)
            else:
                stack.callback(workers[variant].close)
        yield workers, failed
