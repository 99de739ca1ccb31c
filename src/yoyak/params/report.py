"""The section ``report`` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from yoyak.params.base import Section


class Report(Section):
    """The contents of the report."""

    dialogues: Annotated[int, Field(ge=0)] = 20
    """Number of test dialogues listed with every member's summary."""
    title: str = "Yoyak"
