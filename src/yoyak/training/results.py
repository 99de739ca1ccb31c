"""What a training reports: its figures and its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MEASUREMENTS = ("loss", "eval_loss", "eval_combined", "learning_rate", "grad_norm")
CURVE_COLUMNS = ("step", "epoch", *MEASUREMENTS)
"""Columns of a training's curves."""

LogRow = Mapping[str, float]
"""One entry of the Trainer's log: a ``step``, an ``epoch`` and what was measured there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMetrics:
    """The figures of a training, as training/<member>.json has them."""

    train_loss: float
    """Mean over the last logged steps."""
    eval_loss: float
    """Of the best checkpoint, as the combined ROUGE is."""
    eval_combined: float
    best_step: int
    steps: int
    epochs: float
    parameters: int
    seconds: float
    """Of this process: without what an earlier one spent before it was killed."""
    samples_per_second: float
    """Of this process; 0 where there was nothing left to train."""
    peak_memory_mb: int
    truncated_dialogues: int
    """Training rows whose dialogue was cut at ``max_input_tokens``."""
    truncated_summaries: int
    """Training rows whose summary was cut at ``max_target_tokens``."""
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What came out of a training, beside the model."""

    metrics: TrainingMetrics
    curves: list[dict[str, float]]
    """One row for each logged step, with `CURVE_COLUMNS`; what was not measured at a step is left out."""
    checkpoint: str
    """Digest or commit of the checkpoint that the training began with; empty where there was none."""


def training_curves(history: Sequence[LogRow]) -> list[dict[str, float]]:
    """Return the Trainer's log as one row for each step, ordered by step."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        measured = {key: entry[key] for key in MEASUREMENTS if key in entry}
        if measured:
            rows.setdefault(int(entry["step"]), {"step": entry["step"], "epoch": entry["epoch"]}).update(measured)
    return [rows[step] for step in sorted(rows)]
