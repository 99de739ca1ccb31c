"""The interface of every summarizer: a torch model, an exported one or an ensemble.

summaries = summarizer.summarize(["#Person1#: …"])
summaries.texts, summaries.cut, summaries.tokens
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from yoyak.decoding.candidates import Candidate
from yoyak.errors import UserError
from yoyak.params import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """Number of tokens that a call processed."""

    read: int = 0
    """Input tokens, without padding."""
    written: int = 0
    """Tokens of the returned candidates, including end marks."""

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(read=self.read + other.read, written=self.written + other.written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summaries:
    """The result of a call: one entry for each dialogue, in the order of the dialogues."""

    candidates: list[list[Candidate]]
    """Candidates of each dialogue, best first."""
    cut: list[bool]
    """Whether the dialogue was truncated to the model's window."""
    tokens: TokenUsage
    measures: Mapping[str, float] = field(default_factory=dict)
    """What else is known of the call, such as its cost; `predict` logs it."""

    @property
    def texts(self) -> list[str]:
        """The best candidate's text for each dialogue."""
        return [candidates[0].text for candidates in self.candidates]

    @property
    def truncated(self) -> int:
        """Number of dialogues that were truncated."""
        return sum(self.cut)


class Summarizer(Protocol):
    """Anything that turns dialogues into summaries."""

    @property
    def generation(self) -> Generation:
        """The default generation settings."""

    @property
    def new_token_limit(self) -> int | None:
        """How many tokens it can generate after its longest input; None means no limit."""

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        """Summarize dialogues; ``progress`` shows a progress bar on stderr."""


def check_new_tokens(summarizer: Summarizer, name: str, new_tokens: int) -> None:
    """Raise UserError if a summarizer cannot generate ``new_tokens`` tokens; ``name`` is its name in the error."""
    limit = summarizer.new_token_limit
    if limit is not None and new_tokens > limit:
        raise UserError(
            f"generation.max_new_tokens is {new_tokens}, but {name} only has positions for {limit} new tokens: "
            "lower it."
        )
