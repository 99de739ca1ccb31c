"""The section ``generation`` of params.yaml: how members generate summaries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from yoyak.params.base import Section

OutputStep = Literal["restore_masks", "drop_repeats", "plain_style", "polite_style"]
"""The steps of `Generation.postprocessing`, defined in `yoyak.models.steps`."""


class Generation(Section):
    """How members generate summaries; names and meanings are those of GenerationConfig where that has them."""

    max_new_tokens: Annotated[int, Field(gt=0)] = 64
    min_new_tokens: Annotated[int, Field(ge=0)] = 0
    num_beams: Annotated[int, Field(gt=0)] = 4
    num_return_sequences: Annotated[int, Field(gt=0)] = 4
    """Candidates kept for each dialogue, best first."""
    length_penalty: float = 1.0
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0
    """No n tokens in a row twice in a summary; 0 is no limit. What the dialogue says does not count, nor for
    `repetition_penalty`."""
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    batch_size: Annotated[int, Field(gt=0)] = 32
    """Dialogues decoded at once."""
    postprocessing: tuple[OutputStep, ...] = ()
    """Steps that change each candidate, in this order, wherever a model summarizes: see docs/processing.md."""

    @model_validator(mode="after")
    def _beams_hold_candidates(self) -> Generation:
        if self.num_return_sequences > self.num_beams:
            raise ValueError("num_return_sequences must be at most num_beams")
        if {"plain_style", "polite_style"} <= {*self.postprocessing}:
            raise ValueError("postprocessing has both plain_style and polite_style: leave one of them out")
        return self

    @property
    def search(self) -> dict[str, Any]:
        """The values that a search reads."""
        return self.model_dump(exclude={"batch_size", "postprocessing"})
