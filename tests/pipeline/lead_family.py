"""A family in one file, as another package would add it: a member's summary is the first turns of the dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from yoyak.decoding.candidates import Candidate
from yoyak.decoding.summarizer import Summaries, TokenUsage
from yoyak.models.families.base import Family
from yoyak.models.spec import ModelSpec, load_spec
from yoyak.params import Generation, Member


class LeadMember(Member):
    """A member that needs no training."""

    family: Literal["lead"]
    turns: Annotated[int, Field(gt=0)] = 1


class Lead(Family):
    """Extractive summaries."""

    name = "lead"
    member_class = LeadMember
    summarizer = f"{__name__}:LeadSummarizer"

    def make_spec(self, name: str, member: Any) -> ModelSpec:
        return ModelSpec(member=name, family=self.name, options={"turns": member.turns})


class LeadSummarizer:
    """Returns the first turns of each dialogue."""

    new_token_limit = None

    def __init__(self, spec: ModelSpec) -> None:
        self.generation = spec.generation
        self.turns: int = spec.options["turns"]

    @classmethod
    def load(cls, folder: Path, device: str | None = None) -> LeadSummarizer:
        return cls(load_spec(folder))

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        texts = [" ".join(dialogue.splitlines()[: self.turns]) for dialogue in dialogues]
        return Summaries(
            candidates=[[Candidate(text, 0.0)] for text in texts],
            cut=[False] * len(texts),
            tokens=TokenUsage(),
        )
