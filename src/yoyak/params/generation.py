"""The section ``generation`` of params.yaml: how members generate summaries."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from yoyak.params.base import Section


class Generation(Section):
    """How members generate summaries; names and meanings are those of transformers' GenerationConfig."""

    max_new_tokens: Annotated[int, Field(gt=0)] = 64
    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    num_beams: Annotated[int, Field(gt=0)] = 4
    num_return_sequences: Annotated[int, Field(gt=0)] = 4
    """Candidates kept for each dialogue, best first."""
    length_penalty: float = 1.0
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Annotated[int, Field(gt=0)] = 32
    """Dialogues decoded at once."""

    @model_validator(mode="after")
    def _beams_hold_candidates(self) -> Generation:
        if self.num_return_sequences > self.num_beams:
            raise ValueError("num_return_sequences must be at most num_beams")
        return self
