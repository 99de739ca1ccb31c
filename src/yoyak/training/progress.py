"""Progress of a training run: the bar, a line per evaluation, and the logged metrics."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import torch
from tqdm import tqdm
from transformers import TrainerCallback

from yoyak.training.results import LOGGED_METRICS

MetricLogger = Callable[[int, Mapping[str, float]], None]
"""Receives a step and the metrics measured there."""

TIMINGS = ("_runtime", "_per_second")
"""Ends of the Trainer's metrics that differ from run to run."""


class Progress(TrainerCallback):
    """A progress bar over the steps, a line per evaluation, and a call of the caller's logger."""

    def __init__(self, log: MetricLogger | None, *, visible: bool = True, evaluated_on: str = "dev") -> None:
        self.log = log if visible else None
        self.visible = visible
        self.evaluated_on = evaluated_on
        self.bar: Any = None
        self.first_step = 0
        self.started = self.step_started = time.perf_counter()
        self.seconds_in_steps = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, and log again what was measured before an interruption: this is a new MLflow run."""
        self.first_step, self.started = state.global_step, time.perf_counter()
        self.bar = tqdm(
            total=state.max_steps, initial=state.global_step, desc="training", unit="step", disable=not self.visible
        )
        for row in state.log_history:
            self.log_row(row)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock: an evaluation between two updates does not count."""
        self.step_started = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        self.seconds_in_steps += time.perf_counter() - self.step_started
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the new metrics, and print a line after an evaluation."""
        row = state.log_history[-1]
        self.log_row(row)
        if self.visible and "eval_combined" in row:
            tqdm.write(
                f"epoch {row['epoch']:.1f}: {self.evaluated_on} loss {row['eval_loss']:.3f}, "
                f"{self.evaluated_on} ROUGE {row['eval_combined']:.4f}{self._describe_pace(args, state)}"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def _describe_pace(self, args: Any, state: Any) -> str:
        """Return throughput, memory and when training ends if nothing stops it early, as this process measured them."""
        steps = state.global_step - self.first_step
        if steps == 0:
            return ""
        rows = steps * args.train_batch_size * args.gradient_accumulation_steps
        pace = f"; {rows / self.seconds_in_steps:.3g} dialogues/s, {peak_memory_mb():,} MB"
        remaining = (time.perf_counter() - self.started) / steps * (state.max_steps - state.global_step)
        return f"{pace}, ends in {timedelta(seconds=round(remaining))}" if remaining else pace

    def log_row(self, row: Mapping[str, float]) -> None:
        """Pass the metrics in a row of the Trainer's log to the caller's logger."""
        own = [key for key in row if key.startswith("eval_") and not key.endswith(TIMINGS)]
        metrics = {key: row[key] for key in dict.fromkeys((*LOGGED_METRICS, *own)) if key in row}
        if self.log is not None and metrics:
            self.log(int(row["step"]), metrics)


def peak_memory_mb() -> int:
    """Return the most memory that this process has had: of the GPU, if there is one."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / 2**20)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
