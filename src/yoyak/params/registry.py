"""The section ``registry`` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from yoyak.params.base import Name, Section, Share

Positive = Annotated[float, Field(gt=0)]


class Registry(Section):
    """Names in the MLflow Model Registry, and the conditions for promoting a challenger to champion."""

    name: Name = "yoyak"
    """Registered model for the best member; each member is also registered as ``<name>-<member>``."""
    significance: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Probability that a champion is ever replaced by a challenger that is no better, over all its challengers."""
    min_gain: Share = 0.005
    """Minimum gain in combined ROUGE over the champion on the gate split."""
    min_dialogues: Annotated[int, Field(ge=2)] = 50
    """With fewer usable gate dialogues, nothing is promoted."""
    resamples: Annotated[int, Field(ge=1000)] = 20_000
    """Random sign flips of the test; with few dialogues, all of them are enumerated instead."""
    seed_std: Share = 0.007
    """Standard deviation of combined ROUGE between trainings that differ only in their seed, which the gain has to
    exceed as well. The default is that of the sample corpus's BART; `benchmarks/gate.py` estimates it."""
    max_size_mb: Positive | None = None
    """Maximum size of a challenger's files."""
    max_seconds: Positive | None = None
    """Maximum median time for one dialogue, measured on this machine; null measures nothing."""
    max_behaviour: dict[str, Share] = {}
    """Maximum failure rate by name of a behaviour check, such as ``numbers_made_up: 0.1``."""
    ensemble: Name | None = None
    """Strategy in ``ensemble`` to register as well, as a version of ``name`` with this name as its alias."""
