"""What every summarizer looks like from outside: a torch model, an exported one, an ensemble.

summaries = summarizer.summarize(["#Person1#: …"])
summaries.texts, summaries.cut, summaries.tokens
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from yoyak.decoding.candidates import Candidate
from yoyak.errors import UserError
from yoyak.params import Generation


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenUsage:
    """How many tokens a call took."""

    read: int = 0
    """Tokens of the dialogues as the model read them, padding left out."""
    written: int = 0
    """Tokens of the returned candidates, end marks included."""

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(read=self.read + other.read, written=self.written + other.written)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summaries:
    """The result of a call: one entry for each dialogue, in the order of the dialogues."""

    candidates: list[list[Candidate]]
    """Candidates of each dialogue, best first."""
    cut: list[bool]
    """Whether the dialogue's end was cut off at the model's window."""
    tokens: TokenUsage

    @property
    def texts(self) -> list[str]:
        """The best candidate's text for each dialogue."""
        return [candidates[0].text for candidates in self.candidates]

    @property
    def truncated(self) -> int:
        """How many dialogues were cut."""
        return sum(self.cut)


class Summarizer(Protocol):
    """Anything that turns dialogues into summaries."""

    @property
    def generation(self) -> Generation:
        """The settings it writes with unless a call gives others."""

    @property
    def new_token_limit(self) -> int | None:
        """The most tokens it can write after the longest dialogue it reads; None if there is no limit."""

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        """Summarize dialogues; ``progress`` draws a progress bar on stderr."""


def check_new_tokens(summarizer: Summarizer, name: str, new_tokens: int) -> None:
    """Raise UserError if a summarizer cannot write ``new_tokens`` tokens; ``name`` is what the user calls it."""
    limit = summarizer.new_token_limit
    if limit is not None and new_tokens > limit:
        raise UserError(
            f"generation.max_new_tokens is {new_tokens}, but {name} has positions for {limit} new tokens only: "
            "lower it."
        )
