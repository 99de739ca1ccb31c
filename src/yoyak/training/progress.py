"""Progress of a training run: the bar, a line per evaluation, and the logged metrics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from yoyak.training.results import LOGGED_METRICS

MetricLogger = Callable[[int, Mapping[str, float]], None]
"""Receives a step and the metrics measured there."""

TIMINGS = ("_runtime", "_per_second")
"""Ends of the Trainer's metrics that differ from run to run."""


class Progress(TrainerCallback):
    """A progress bar over the steps, a line per evaluation, and a call of the caller's logger."""

    def __init__(self, log: MetricLogger | None) -> None:
        self.log = log
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, and log again what was measured before an interruption: this is a new MLflow run."""
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="training", unit="step")
        for row in state.log_history:
            self.log_row(row)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Log the new metrics, and print a line after an evaluation."""
        row = state.log_history[-1]
        self.log_row(row)
        if "eval_combined" in row:
            tqdm.write(
                f"epoch {row['epoch']:.1f}: dev loss {row['eval_loss']:.3f}, dev ROUGE {row['eval_combined']:.4f}"
            )

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Close the bar."""
        self.bar.close()

    def log_row(self, row: Mapping[str, float]) -> None:
        """Pass the metrics in a row of the Trainer's log to the caller's logger."""
        own = [key for key in row if key.startswith("eval_") and not key.endswith(TIMINGS)]
        metrics = {key: row[key] for key in dict.fromkeys((*LOGGED_METRICS, *own)) if key in row}
        if self.log is not None and metrics:
            self.log(int(row["step"]), metrics)
