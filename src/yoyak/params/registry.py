"""The section ``registry`` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from yoyak.params.base import Name, Section


class Registry(Section):
    """The names in the MLflow Model Registry and when a challenger becomes champion."""

    name: Name = "yoyak"
    """Registered model of the best member; each member's own is ``<name>-<member>``."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A challenger becomes champion when its dev gain has a paired p-value under this."""
    ensemble: Name | None = None
    """The strategy of ``ensemble`` that is registered as a model too, as a version of ``name`` with that alias."""
