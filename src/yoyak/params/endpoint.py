"""The params of a member that is asked over HTTP: which chat endpoint, what it is asked, and what it may cost."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from yoyak.params.base import Section

VARIABLE = re.compile(r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+")
"""A name such as UPSTAGE_API_KEY. Keys have small letters or hyphens, or no underscore."""
KEY_LIKE = re.compile(
    r"(?i)\b(bearer\s+\S{8,}|(sk|up|pk|rk|gsk|xai|hf|ghp|api)[-_][\w-]{16,}|AIza[\w-]{20,}|AKIA\w{12,})"
)
"""Values that begin as the keys of well-known services do."""
SECRET_NAMES = re.compile(r"(?i)(api[-_]?key|authorization|password|secret|access[-_]?token)")


class Price(Section):
    """The price of a million tokens, in the currency of the budget."""

    input: Annotated[float, Field(ge=0)]
    output: Annotated[float, Field(ge=0)]


class FewShot(Section):
    """Examples from the training set that a prompt shows."""

    examples: Annotated[int, Field(gt=0)] = 3
    choice: Literal["similar", "random"] = "similar"
    """``similar``: those whose dialogues share the most character n-grams with the dialogue (TF-IDF). ``random``: other
    ones for each dialogue, by the seed."""
    pool: Annotated[int, Field(gt=0)] = 2000
    """They are chosen from so many dialogues: a sample of the training set, by the seed, that is saved with the
    member."""


class Endpoint(Section):
    """A chat endpoint with OpenAI's interface, and how it is asked for summaries."""

    base_url: str
    """The address before ``/chat/completions``, such as ``https://api.upstage.ai/v1``."""
    model: Annotated[str, Field(min_length=1)]
    """The model's name at the endpoint."""
    api_key_env: str | None = None
    """The name of the environment variable that holds the key; null for an endpoint that wants none."""
    prompt: Annotated[str, Field(min_length=1)]
    """A file below prompts/ with the texts of the messages."""
    few_shot: FewShot | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = 0.0
    """null sends none, for models that take none."""
    max_tokens: Annotated[int, Field(gt=0)] = 256
    """Tokens of an answer, by the endpoint's own count; a budget reserves so many for each request."""
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """The limit's name in a request; newer models of OpenAI know only the second one."""
    extra_body: dict[str, Any] = {}
    """More fields of each request, such as ``reasoning_effort``."""
    max_input_chars: Annotated[int, Field(gt=0)] | None = None
    """Where a dialogue is cut, which then counts as truncated; null leaves the limit to the endpoint."""
    max_samples: Annotated[int, Field(gt=0)] | None = None
    """Summarize a sample of so many dialogues of each split, drawn by the seed; null is all of them."""
    concurrency: Annotated[int, Field(gt=0, le=256)] = 8
    """Requests at a time."""
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    """Of prompts and answers together."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long one answer may take."""
    retries: Annotated[int, Field(ge=0)] = 6
    """Further tries of a request that failed for a reason that may pass."""
    backoff_seconds: Annotated[float, Field(gt=0)] = 1.0
    """The wait before the first of them; it doubles each time. A Retry-After of the endpoint goes before it."""
    max_wait_seconds: Annotated[float, Field(gt=0)] = 120.0
    """The longest wait; if the endpoint asks for a longer one, the member fails."""
    price: Price | None = None
    budget: Annotated[float, Field(gt=0)] | None = None
    """What the member may cost in this project, all runs together; null is no limit."""

    @field_validator("api_key_env", mode="before")
    @classmethod
    def _is_a_name(cls, value: object) -> object:
        if value is None or (isinstance(value, str) and VARIABLE.fullmatch(value)):
            return value
        raise ValueError(
            "must be the name of an environment variable, such as UPSTAGE_API_KEY, never a key: keep keys out of files"
        )

    @field_validator("base_url", mode="before")
    @classmethod
    def _is_an_address(cls, value: object) -> object:
        problem = "must be an address such as https://api.upstage.ai/v1, without a password, a key or a query in it"
        if not isinstance(value, str):
            raise ValueError(problem)
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or KEY_LIKE.search(value):
            raise ValueError(problem)
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError(problem)
        return value.rstrip("/")

    @field_validator("extra_body", "model", "prompt", mode="before")
    @classmethod
    def _holds_no_key(cls, value: object) -> object:
        if any(SECRET_NAMES.fullmatch(name) or KEY_LIKE.search(text) for name, text in _texts(value)):
            raise ValueError("holds what looks like a key: name the variable that holds it in api_key_env")
        return value

    @model_validator(mode="after")
    def _can_be_counted(self) -> Endpoint:
        if self.budget is not None and self.price is None:
            raise ValueError("a budget needs the price of a million tokens: price: {input: 0.15, output: 0.6}")
        return self

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine."""
        host = urlsplit(self.base_url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")


def _texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text of a nested value with the key that it has."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key), ""
            yield from _texts(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, name)
    elif isinstance(value, str):
        yield "", value
