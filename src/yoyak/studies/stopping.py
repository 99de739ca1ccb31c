"""Ending a training at its next step, so that it can be resumed from its last checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from transformers import TrainerCallback


class StopAtStep(TrainerCallback):
    """Raises ``error`` after a step if ``should_stop`` says so."""

    def __init__(self, should_stop: Callable[[], bool], error: type[Exception]) -> None:
        self.should_stop, self.error = should_stop, error

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Raise the error if training is to stop."""
        if self.should_stop():
            raise self.error(f"stopped after {state.global_step} steps")
