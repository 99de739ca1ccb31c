"""The section ``registry`` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from yoyak.params.base import Name, Section


class Registry(Section):
    """Names in the MLflow Model Registry, and the condition for promoting a challenger."""

    name: Name = "yoyak"
    """Registered model for the best member; each member is also registered as ``<name>-<member>``."""
    significance: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """A challenger becomes champion if the paired p-value of its dev gain is below this."""
    ensemble: Name | None = None
    """Strategy in ``ensemble`` to register as well, as a version of ``name`` with this name as its alias."""
