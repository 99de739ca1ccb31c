"""Types that several sections of params.yaml share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
RougeWeights = tuple[Share, Share, Share]
"""Weights of ROUGE-1, ROUGE-2 and ROUGE-L in one combined score."""
ROUGE_WEIGHTS: RougeWeights = (0.33, 0.33, 0.34)
"""The default weights."""
Granularity = Literal["eojeol", "morpheme", "syllable", "english"]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]


class Section(BaseModel):
    """A part of params.yaml: immutable, and an unknown key is an error."""

    # A value may be a key that somebody wrote into the file: tracebacks in the log do not quote it.
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=(), hide_input_in_errors=True
    )
