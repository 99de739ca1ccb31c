"""What a training run reports: its metrics and its curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LOGGED_METRICS = ("loss", "eval_loss", "eval_combined", "learning_rate", "grad_norm")
CURVE_COLUMNS = ("step", "epoch", *LOGGED_METRICS)
"""Columns of the training curves."""

LogRow = Mapping[str, float]
"""One entry of the Trainer's log: ``step``, ``epoch`` and the metrics measured there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingMetrics:
    """The metrics of a training run, as written to training/<member>.json."""

    train_loss: float
    """Mean over the last logged steps."""
    eval_loss: float
    """At the best checkpoint, like ``eval_combined``."""
    eval_combined: float
    best_step: int
    steps: int
    epochs: float
    parameters: int
    trained_parameters: int
    """All of them, or those of the adapter."""
    seconds: float
    """In this process; time spent before an interruption is not included."""
    samples_per_second: float
    """In this process; 0 if there was nothing left to train."""
    peak_memory_mb: int
    batch_size: int
    """Smaller than in params.yaml if memory ran out."""
    truncated_dialogues: int
    """Training rows whose dialogue was cut at ``max_input_tokens``."""
    truncated_summaries: int
    """Training rows whose summary was cut at ``max_target_tokens``."""
    device: str
    precision: str
    """The dtype that the model computes with."""
    merge_agreement: float = 1.0
    """Share of dev tokens that the merged model predicts as with its adapter attached; 1 where nothing is merged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What training returns besides the model."""

    metrics: TrainingMetrics
    curves: list[dict[str, float]]
    """One row per logged step, with `CURVE_COLUMNS`; metrics not measured at a step are absent."""
    checkpoint: str
    """Digest or commit of the checkpoint that training started from; empty if there was none."""


def training_curves(history: Sequence[LogRow]) -> list[dict[str, float]]:
    """Return the Trainer's log as one row per step, in order."""
    rows: dict[int, dict[str, float]] = {}
    for entry in history:
        metrics = {key: entry[key] for key in LOGGED_METRICS if key in entry}
        if metrics:
            rows.setdefault(int(entry["step"]), {"step": entry["step"], "epoch": entry["epoch"]}).update(metrics)
    return [rows[step] for step in sorted(rows)]
