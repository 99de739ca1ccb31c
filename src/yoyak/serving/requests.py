"""Checking requests: their dialogues, and the generation settings that they may change."""

from __future__ import annotations

import re
from numbers import Real
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from yoyak.errors import UserError
from yoyak.korean.masks import MASK
from yoyak.params import Generation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from yoyak.params.deploy import Serving

COLUMN = "dialogue"
PARAMS = (
    "num_beams",
    "max_new_tokens",
    "min_new_tokens",
    "length_penalty",
    "no_repeat_ngram_size",
    "repetition_penalty",
)
"""The values of `Generation` that a request may set, under ``params``."""
LIMITS: dict[str, float] = {
    "num_beams": 32,
    "max_new_tokens": 1024,
    "length_penalty": 10,
    "repetition_penalty": 10,
    "no_repeat_ngram_size": 1024,
}
"""The maximum of a value: a single request must not occupy the server for minutes."""

EXAMPLE = '{"inputs": ["#Person1#: …"]}'
"""A body of /invocations."""
TEXT_EXAMPLE = '"#Person1#: …"'
_NO_WORDS = re.compile(rf"(?:{MASK.pattern}|[\s:：])*")
"""Nothing, or turns with a speaker and no words."""
_HALF = re.compile("[\ud800-\udfff]")
"""A surrogate without the other one: JSON can say it, but no encoding can."""
_NULLS = {"None", "nan", "True", "False"}
"""What MLflow turns JSON's null, NaN, true and false into in a list of texts."""


def check_dialogues(values: Sequence[object], limits: Serving) -> list[str]:
    """Return a request's dialogues, once each is known to be text.

    Raises UserError where there are none or too many, or one is empty, too long or not text; the error does not repeat
    it. MLflow turns numbers in a table into text, so a dialogue without a single letter is taken for a number.
    """
    if not values:
        raise UserError(f"The request has no dialogue: send at least one, as in {EXAMPLE}.")
    if len(values) > limits.max_rows:
        raise UserError(f"The request has more than {limits.max_rows} dialogues, the most allowed: send them in parts.")
    texts = []
    for number, value in enumerate(values, start=1):
        problem = find_problem(value, limits)
        if problem is not None:
            raise UserError(f"Dialogue {number} of {len(values)} {problem}")
        texts.append(str(value))
    return texts


def find_problem(value: object, limits: Serving) -> str | None:
    """Return what is wrong with a dialogue, as the end of a sentence that begins with it; None if it is fine."""
    if not isinstance(value, str) or value in _NULLS:
        return f"is not text: send each dialogue as one string, as in {TEXT_EXAMPLE}."
    if len(value) > limits.max_chars:
        return f"has {len(value)} characters, but at most {limits.max_chars} are allowed."
    if _NO_WORDS.fullmatch(value):
        return f"is empty: send its turns, one per line, as in {TEXT_EXAMPLE}."
    if not any(letter.isalpha() for letter in value):
        return f"has no words: send its turns as text, as in {TEXT_EXAMPLE}."
    if _HALF.search(value):
        return "has half of a character: it was cut inside of an escape such as \\ud83d."
    return None


def request_generation(
    default: Generation, params: Mapping[str, Any], new_token_limit: int | None = None
) -> Generation:
    """Return the generation settings of one request: the model's own with the request's params, and one summary each.

    ``new_token_limit`` is how many tokens the model has positions for, if that is bounded. Raises UserError for a value
    that is out of bounds; the error does not repeat it.
    """
    limits = {**LIMITS, "max_new_tokens": min(new_token_limit or LIMITS["max_new_tokens"], LIMITS["max_new_tokens"])}
    requested = {name: value for name, value in params.items() if name in PARAMS and value is not None}
    for name, value in requested.items():
        if isinstance(value, bool) or not isinstance(value, Real):
            raise UserError(f"params.{name} must be a number.")
        limit = limits.get(name)
        if limit is not None and not abs(value) <= max(limit, getattr(default, name)):
            raise UserError(f"params.{name} may be at most {limit:g}.")
    try:
        settings = Generation.model_validate({**default.model_dump(), **requested, "num_return_sequences": 1})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else "generation"
        raise UserError(f"params.{key} is wrong: {first['msg'][:1].lower()}{first['msg'][1:]}.") from error
    if settings.min_new_tokens > settings.max_new_tokens:
        raise UserError(f"params.min_new_tokens may be at most max_new_tokens, {settings.max_new_tokens}.")
    return settings
