"""The interface of every summarizer: a torch model, an exported one or an ensemble.

summaries = summarizer.summarize(["#Person1#: …"])
summaries.texts, summaries.cut, summaries.tokens
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import WHOLE, Candidate
from yoyak.errors import UserError
from yoyak.models.steps import TOPIC, add_topics
from yoyak.params import Generation

HEAD, WINDOWS = "head", "windows"
"""How a dialogue was read that does not fit: only its beginning (or ``tail``, ``both``), or all of it in parts."""

READINGS = {
    HEAD: "read from the beginning only",
    "tail": "read from the end only",
    "both": "read from both ends only",
    WINDOWS: "read in parts",
}


def describe_reading(how: Iterable[str]) -> str:
    """Return how several models have read a dialogue: all ways but ``whole``, in the order of the models."""
    return "+".join(dict.fromkeys(way for way in how if way != WHOLE)) or WHOLE


def describe_readings(summaries: Summaries) -> str:
    """Return what was done with dialogues that did not fit into the window, as a line of text; empty if all did."""
    return describe_reading_counts(Counter(summaries.read), summaries.truncated)


def describe_reading_counts(read: Counter[str], truncated: int) -> str:
    """Return `describe_readings` of dialogues of which so many were read in each way, and so many truncated."""
    affected = {how: count for how, count in sorted(read.items()) if how != WHOLE}
    if not affected:
        return ""
    ways = ", ".join(f"{count} {READINGS.get(how, how)}" for how, count in affected.items())
    left_out = f"; of {truncated} a part was left out" if WINDOWS in affected and truncated else ""
    return f"{sum(affected.values())} of {read.total()} dialogues did not fit into the model's window: {ways}{left_out}"


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
    """Whether a part of the dialogue was left out, because it does not fit into the model's window."""
    tokens: TokenUsage
    measures: Mapping[str, float] = field(default_factory=dict)
    """What else is known of the call, such as its cost; `predict` logs it."""
    how: Sequence[str] = ()
    """How each dialogue was read; empty if those that were cut were read from the beginning, and all others whole."""

    @property
    def read(self) -> list[str]:
        """How each dialogue was read: ``whole``, ``head``, ``tail``, ``both`` or ``windows``."""
        return list(self.how) or [HEAD if cut else WHOLE for cut in self.cut]

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


def reads_topics(summarizer: Summarizer) -> bool:
    """Return whether a summarizer was trained to read a dialogue with its topic."""
    return bool(getattr(summarizer, "reads_topics", False))


def texts_to_read(summarizer: Summarizer, rows: Sequence[Dialogue]) -> list[str]:
    """Return the dialogues as a summarizer is given them: with their topics if it reads those, and a row has one."""
    steps = (TOPIC,) if reads_topics(summarizer) else ()
    return add_topics([row.dialogue for row in rows], [row.topic for row in rows], steps)


class Reading(Protocol):
    """A dialogue in tokens."""

    @property
    def ids(self) -> list[int]:
        """Its tokens."""


class Finished(Protocol):
    """What became of a dialogue."""

    @property
    def summary(self) -> str:
        """Its summary."""

    @property
    def cut(self) -> bool:
        """Whether a part of it was left out."""

    @property
    def read(self) -> str:
        """How it was read, as in `Summaries.read`."""


class Run(Protocol):
    """Dialogues that are summarized together with the same settings, although they may start at different times."""

    def read(self, dialogue: str) -> Any:
        """Return a dialogue in tokens, a `Reading`."""

    def add(self, readings: Sequence[Any]) -> None:
        """Let dialogues join. If it fails, none has joined."""

    def step(self) -> Sequence[tuple[Any, Finished]]:
        """Write a token of each text, and return the dialogues that have left because they are finished."""

    def drop(self, readings: Collection[Any]) -> None:
        """Let dialogues leave that nobody waits for."""


OpenRun = Callable[[Generation, int], Run]
"""Returns a run for dialogues with these settings, and room for that many."""


@runtime_checkable
class Joinable(Protocol):
    """A summarizer that may also let dialogues join those that it is summarizing."""

    @property
    def is_joinable(self) -> bool:
        """Whether this one does."""

    def open_run(self, settings: Generation, room: int) -> Run:
        """Return a run with room for that many dialogues."""


@runtime_checkable
class Scorer(Protocol):
    """A summarizer that can also tell how likely texts are that others wrote; one behind an API cannot."""

    def log_likelihoods(self, dialogues: Sequence[str], texts: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the log-likelihood of each text of each dialogue as its summary, in nats."""


def check_new_tokens(summarizer: Summarizer, name: str, new_tokens: int) -> None:
    """Raise UserError if a summarizer cannot generate ``new_tokens`` tokens; ``name`` is its name in the error."""
    limit = summarizer.new_token_limit
    if limit is not None and new_tokens > limit:
        raise UserError(
            f"generation.max_new_tokens is {new_tokens}, but {name} only has positions for {limit} new tokens: "
            "lower it."
        )
