"""Callbacks and metrics of other packages, which declare them as entry points and members name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from typing import Any

from transformers import TrainerCallback

from yoyak.errors import UserError, nearest

CALLBACKS, METRICS = "yoyak.callbacks", "yoyak.metrics"
"""The groups of the entry points."""

Metric = Callable[[Sequence[str], Sequence[Sequence[str]]], float]
"""Scores summaries, given the references of each."""


def load_callbacks(where: str, names: Iterable[str]) -> list[TrainerCallback]:
    """Return an instance of each callback, in order.

    Raises UserError if no package declares one of that name, or it is not a class of callbacks.
    """
    callbacks = []
    for name in names:
        kind = _load(CALLBACKS, f"{where}.callbacks", name)
        if not (isinstance(kind, type) and issubclass(kind, TrainerCallback)):
            raise UserError(f"{where}.callbacks: '{name}' is not a subclass of transformers.TrainerCallback.")
        callbacks.append(kind())
    return callbacks


def load_metrics(where: str, names: Iterable[str]) -> dict[str, Metric]:
    """Return each metric by its name; UserError if no package declares one of that name."""
    return {name: _load(METRICS, f"{where}.metrics", name) for name in names}


def _load(group: str, where: str, name: str) -> Any:
    found = {entry.name: entry for entry in entry_points(group=group)}
    if name not in found:
        raise UserError(f"{where}: no installed package has '{name}' in the group {group}{nearest(name, found)}.")
    return found[name].load()
