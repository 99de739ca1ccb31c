"""What a person sees while a training runs, and what is logged of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback

from yoyak.training.results import MEASUREMENTS

Logger = Callable[[int, Mapping[str, float]], None]


class Progress(TrainerCallback):
    """A progress bar over the steps, a line for each evaluation, and the caller's log."""

    def __init__(self, log: Logger | None) -> None:
        self.log = log
        self.bar: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Open the bar, and log what was measured before a kill: the run that it was logged to is another one."""
        self.bar = tqdm(total=state.max_steps, initial=state.global_step, desc="training", unit="step")
        for row in state.log_history:
            self.log_row(row)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Pass on what was measured."""
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
        """Call the caller's log with what a row of the Trainer's log has measured."""
        measured = {key: row[key] for key in MEASUREMENTS if key in row}
        if self.log is not None and measured:
            self.log(int(row["step"]), measured)
