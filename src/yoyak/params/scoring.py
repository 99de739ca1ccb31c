"""The section ``scoring`` of params.yaml."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from yoyak.params.base import ROUGE_WEIGHTS, Granularity, RougeWeights, Section

Granularities = list[Granularity]
MultiReference = Literal["mean", "max"]


class Scoring(Section):
    """How summaries are scored."""

    granularities: Granularities = ["morpheme", "eojeol", "syllable"]
    """Units for ROUGE; models are selected by the first."""
    multi_reference: MultiReference = "mean"
    """Protocol for selecting models; the report has both."""
    weights: RougeWeights = ROUGE_WEIGHTS
    """Weights of ROUGE-1, ROUGE-2 and ROUGE-L in the combined score."""
    bootstrap_samples: Annotated[int, Field(ge=100)] = 2000
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.95
    processes: Annotated[int, Field(gt=0)] = 1
    """Number of worker processes for large files; the result does not depend on it."""
    samples: Annotated[int, Field(ge=0)] = 20
    """Test dialogues logged with every member's prediction as a table in MLflow."""

    @model_validator(mode="after")
    def _adds_up(self) -> Scoring:
        if abs(sum(self.weights) - 1) > 0.011:
            raise ValueError(f"weights must add up to 1, not {sum(self.weights):g}")
        if not self.granularities or len(set(self.granularities)) < len(self.granularities):
            raise ValueError("granularities must name at least one, and none twice")
        return self
