"""What the parts of benchmarks/training.py have in common."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def make_stopwatch() -> Any:
    """Return a callback that measures the seconds of a training without its evaluations and checkpoints."""
    import torch
    from transformers import TrainerCallback

    from yoyak.training.progress import peak_memory_mb

    class Stopwatch(TrainerCallback):
        seconds = processor_seconds = peak_mb = 0.0
        running = False

        def read(self) -> tuple[float, float]:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            return time.perf_counter(), time.process_time()

        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not self.running:
                self.last, self.running = self.read(), True

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            now = self.read()
            self.seconds += now[0] - self.last[0]
            self.processor_seconds += now[1] - self.last[1]
            # Before anything is evaluated.
            self.peak_mb = max(self.peak_mb, peak_memory_mb())
            self.last, self.running = now, not (control.should_evaluate or control.should_save)

    return Stopwatch()


def in_process(*arguments: str) -> dict[str, Any]:
    """Run a part of benchmarks/training.py in a process of its own and return what it measured."""
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("training.py"), *arguments],
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def parse_member(values: dict[str, Any]) -> Any:
    """Return a member with these params."""
    from pydantic import TypeAdapter

    from yoyak.params.any_member import AnyMember

    return TypeAdapter(AnyMember).validate_python(values)


def read_lines(path: Path) -> list[dict[str, str]]:
    """Return the rows of a JSONL file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
