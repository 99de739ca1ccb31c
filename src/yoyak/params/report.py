"""The section ``report`` of params.yaml."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from yoyak.params.base import Section


class Report(Section):
    """What is in the report."""

    dialogues: Annotated[int, Field(ge=0)] = 20
    """Test dialogues shown with every member's summary."""
    title: str = "Yoyak"
