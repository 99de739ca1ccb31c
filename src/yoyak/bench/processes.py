"""The worker processes, one for each variant, as the bench sees them."""

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

SETTLE = 0.05
"""Seconds before a turn, in which threads that spin for more work go to sleep."""
PATIENCE = 20
"""Seconds that a process has to end once its output has ended."""


class WorkerError(UserError):
    """A worker that could not load its model, or that ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One variant's turn at one cell."""

    seconds: tuple[float, ...]
    """Of each batch."""
    samples: int
    tokens: int
    peak_mb: float
    threads: int
    """Threads that torch was given; 0 for onnxruntime."""

    @property
    def samples_per_second(self) -> float:
        return self.samples / sum(self.seconds)


class Worker:
    """A process that has loaded one variant. Between requests it is idle and its threads sleep."""

    def __init__(self, variant: str, folder: Path, threads: int) -> None:
        self.variant = variant
        # It is read if the process ends unexpectedly, and closed with it.
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

        ``tries`` is how often each number of threads is tried for torch before it is chosen.
        """
        answer = self._ask("measure", batches=batches, generation=generation.model_dump(), tries=tries)
        return Turn(
            seconds=tuple(answer["seconds"]),
            samples=sum(map(len, batches)),
            tokens=answer["tokens"],
            peak_mb=answer["peak_mb"],
            threads=answer["threads"],
        )

    def summarize(self, dialogues: Sequence[str], generation: Generation) -> list[str]:
        """Return the best summary of each dialogue."""
        answer = self._ask("summarize", dialogues=list(dialogues), generation=generation.model_dump())
        return list(answer["texts"])

    def try_batch_sizes(
        self, dialogues: Sequence[str], generation: Generation, *, repeats: int, memory_limit_mb: float
    ) -> Iterator[BatchSizeResult]:
        """Yield what `batch_size.try_batch_sizes` yields in that process; raises WorkerError where the process ends."""
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
        """End the process, whatever it is doing."""
        assert self.process.stdin and self.process.stdout, "they are pipes"
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.errors.close()

    def _ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        self._send(command, **arguments)
        return self._read()

    def _send(self, command: str, **arguments: Any) -> None:
        time.sleep(SETTLE)
        assert self.process.stdin, "it is a pipe"
        try:
            self.process.stdin.write(json.dumps({"command": command, **arguments}) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as error:
            raise self._ended() from error

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout, "it is a pipe"
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.variant} cannot be measured: {answer['error'][:300].rstrip('.')}.")
        return answer

    def _ended(self) -> WorkerError:
        code = self.process.wait(PATIENCE)
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors.read().splitlines() if line.strip()]
        reason = "it was killed, possibly for lack of memory" if code == -9 else (lines or [f"exit code {code}"])[-1]
        return WorkerError(f"The process of {self.variant} ended ({reason[:300].rstrip('.')}).")


@contextmanager
def start_workers(
    folders: Mapping[str, Path], threads: int, optional: Sequence[str]
) -> Iterator[tuple[dict[str, Worker], dict[str, str]]]:
    """Start a worker for each variant, one after the other, and yield them with the reasons why others cannot run.

    Raises WorkerError where a variant that is not ``optional`` cannot run.
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
