"""Starting the workers of a study, with their share of the machine, and talking to them."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

from yoyak.cpu import cores

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
EXIT = {"event": "exit"}
"""What is put into the queue of events when a worker's process has ended."""

Events = queue.SimpleQueue[tuple["WorkerProcess", dict[str, Any]]]


class WorkerProcess:
    """A worker, as its supervisor sees it."""

    def __init__(self, index: int, settings: Mapping[str, Any], environment: Mapping[str, str], log: Path) -> None:
        self.index = index
        self.log = log
        self.ready = False
        self.busy = False
        """Whether it has been told to run a trial and not yet said that it has ended."""
        self.trial: int | None = None
        """Number of the trial that it runs."""
        self.name = ""
        self.began = 0.0
        self.step: tuple[int, float] | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                # Without -P, folders of the project would shadow libraries of the same name.
                [sys.executable, "-P", "-m", "yoyak.studies.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env={**os.environ, **environment},
                text=True,
                encoding="utf-8",
                # Ctrl-C is for the supervisor, even while the worker still starts.
                start_new_session=True,
            )
        self.send({**settings, "worker": index})

    def follow(self, events: Events) -> None:
        """Put the worker's events into a queue, and `EXIT` when its process has ended."""

        def read() -> None:
            assert self.process.stdout is not None
            for line in self.process.stdout:
                with suppress(ValueError):  # A line that was cut off when the process died.
                    events.put((self, json.loads(line)))
            self.process.wait()
            events.put((self, EXIT))

        threading.Thread(target=read, daemon=True).start()

    def send(self, command: Mapping[str, Any]) -> None:
        """Send a command; a process that has ended is noticed elsewhere."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError, ValueError):
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()

    def end(self, seconds: float) -> None:
        """Wait for the process to end by itself, and kill it after some seconds."""
        self.send({"do": "end"})
        with suppress(BrokenPipeError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """Return the last line of its log."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it said nothing"


def share_of_machine(index: int, workers: int) -> dict[str, str]:
    """Return the environment of a worker: as many threads as it has cores, and its share of the GPUs.

    Of more workers than GPUs, several share one.
    """
    threads = max(1, cores() // workers)
    limit = os.environ.get(THREAD_VARIABLES[0], "")
    threads = min(threads, int(limit)) if limit.isdigit() and int(limit) else threads
    gpus = visible_gpus()
    own = gpus[index::workers] or gpus[index % len(gpus) :][:1] if gpus else []
    return {
        **dict.fromkeys(THREAD_VARIABLES, str(threads)),
        "TOKENIZERS_PARALLELISM": "false",
        # Bars of several workers would be of no use in their logs.
        "TQDM_DISABLE": "1",
        **({GPU_VARIABLE: ",".join(own)} if own else {}),
    }


def visible_gpus() -> list[str]:
    """Return the GPUs that this process may use, without loading torch."""
    given = os.environ.get(GPU_VARIABLE)
    if given is not None:
        # CUDA sees none of those from the first invalid one on.
        return list(takewhile(lambda gpu: gpu not in ("", "-1"), (gpu.strip() for gpu in given.split(","))))
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, "--query-gpu=uuid", "--format=csv,noheader"]
    try:
        listed = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []
