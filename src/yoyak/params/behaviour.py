"""The section ``behaviour`` of params.yaml: the behaviour tests of the members."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from yoyak.params.base import Name, Section

CaseNames = Annotated[tuple[Name, ...], Field(min_length=1)]


class Behaviour(Section):
    """Which cases the members are tested with."""

    cases: CaseNames = ("ko",)
    """Files of cases: ``ko`` and ``en`` come with Yoyak, any other name is that of ``cases/<name>.yaml``, which also
    replaces one that comes with Yoyak."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Confidence of the intervals of the rates."""
    examples: Annotated[int, Field(ge=0)] = 5
    """Failures of each check that are kept with their texts."""
