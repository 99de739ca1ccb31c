"""Starting the worker processes, one for each variant, and sending them requests."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yoyak.bench.results import BatchSizeResult, Startup
from yoyak.bench.variants import megabytes
from yoyak.errors import UserError
from yoyak.params import Generation

SETTLE_SECONDS = 0.05
"""Seconds to wait before a turn, so that threads spinning for work go to sleep."""
EXIT_TIMEOUT = 20
"""Seconds to wait for a process to exit once its stdout is closed."""


class WorkerError(UserError):
    """A worker could not load its model, or its process ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One variant's turn at one cell."""

    seconds: tuple[float, ...]
    """Per batch."""
    samples: int
    tokens: int
    peak_mb: float
    threads: int
    """Number of torch threads; 0 for onnxruntime."""

    @property
    def samples_per_second(self) -> float:
        return self.samples / sum(self.seconds)


class Worker:
    """A process with one variant loaded. Between requests all its threads are idle."""

    def __init__(self, variant: str, folder: Path, threads: int) -> None:
        self.variant = variant
        # Read if the process ends unexpectedly; `close` closes it.
        self.errors = tempfile.TemporaryFile(mode="w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        start = time.perf_counter()
        self.process = subprocess.Popen(
            # Without -P, folders of the project would shadow libraries of the same name.
            [sys.executable, "-P", "-m", "yoyak.bench.worker", variant, str(folder), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            encoding="utf-8",
        )
        try:
            answer = self._read()
            self.startup = Startup(disk_mb=megabytes(folder), start_seconds=time.perf_counter() - start, **answer)
        except BaseException:
            self.close()
            raise

    def measure(self, batches: Sequence[Sequence[str]], generation: Generation, tries: int) -> Turn:
        """Summarize batches one after the other and return how long each took.

        ``tries`` is how often each torch thread count is timed before the fastest is chosen.
        """
        answer = self._request("measure", batches=batches, generation=generation.model_dump(), tries=tries)
        return Turn(
            seconds=tuple(answer["seconds"]),
            samples=sum(map(len, batches)),
            tokens=answer["tokens"],
            peak_mb=answer["peak_mb"],
            threads=answer["threads"],
        )

    def summarize(self, dialogues: Sequence[str], generation: Generation) -> list[str]:
        """Return the best summary of each dialogue."""
        answer = self._request("summarize", dialogues=list(dialogues), generation=generation.model_dump())
        return list(answer["texts"])

    def try_batch_sizes(
        self, dialogues: Sequence[str], generation: Generation, *, repeats: int, memory_limit_mb: float
    ) -> Iterator[BatchSizeResult]:
        """Yield the results of `batch_size.try_batch_sizes` in that process. Raises WorkerError if the process ends."""
        self._send(
            "try_batch_sizes",
            dialogues=list(dialogues),
            generation=generation.model_dump(),
            repeats=repeats,
            memory_limit_mb=memory_limit_mb,
        )
        while "done" not in (answer := self._read()):
            yield BatchSizeResult(**answer["result"])

    def close(self) -> None:
        """Kill the process, even in the middle of a request."""
        assert self.process.stdin and self.process.stdout, "both are pipes"
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def _request(self, command: str, **arguments: Any) -> dict[str, Any]:
        self._send(command, **arguments)
        return self._read()

    def _send(self, command: str, **arguments: Any) -> None:
        time.sleep(SETTLE_SECONDS)
        assert self.process.stdin, "it is a pipe"
        try:
            self.process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise self._exit_error() from error

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout, "it is a pipe"
        line = self.process.stdout.readline()
        if not line:
            raise self._exit_error()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.variant} cannot be measured: {answer['error'][:300].rstrip('.')}.")
        return answer

    def _exit_error(self) -> WorkerError:
        code = self.process.wait(EXIT_TIMEOUT)
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        reason = "it was killed, possibly for lack of memory" if code == -9 else (lines or [f"exit code {code}"])[-1]
        return WorkerError(f"The process of {self.variant} ended ({reason[:300].rstrip('.')}).")


@contextmanager
def start_workers(
    folders: Mapping[str, Path], threads: int, optional: Sequence[str]
) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Start a worker for each variant in turn; yield the workers, and why the other variants cannot run.

    Raises WorkerError if a variant that is not ``optional`` cannot run.
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
