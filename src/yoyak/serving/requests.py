"""Checking requests: their dialogues, and the generation settings that they may change."""

from __future__ import annotations

import re
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
LIMITS: dict[str, float] = {"num_beams": 32, "max_new_tokens": 1024, "length_penalty": 10, "repetition_penalty": 10}
"""The maximum of a value: a single request must not occupy the server for minutes."""

_EXAMPLE = '{"inputs": ["#Person1#: …"]}'
_NO_WORDS = re.compile(rf"(?:{MASK.pattern}|[\s:：])*")
"""Nothing, or turns with a speaker and no words."""
_NULLS = {"None", "nan", "True", "False"}
"""What MLflow turns JSON's null, NaN, true and false into in a list of texts."""


def check_dialogues(values: Sequence[object], limits: Serving) -> list[str]:
    """Return a request's dialogues, once each is known to be text.

    Raises UserError where there are none or too many, or one is empty, too long or not text. MLflow turns numbers in a
    list into text before they get here, so a dialogue without a single letter is taken for a number.
    """
    if not values:
        raise UserError(f"The request has no dialogue: send at least one, as in {_EXAMPLE}.")
    if len(values) > limits.max_rows:
        raise UserError(
            f"The request has {len(values)} dialogues, but at most {limits.max_rows} are allowed: send them in parts."
        )
    texts = []
    for number, value in enumerate(values, start=1):
        where = f"Dialogue {number} of {len(values)}"
        if not isinstance(value, str) or value in _NULLS:
            raise UserError(f"{where} is not text but {value!r}: send each dialogue as one string, as in {_EXAMPLE}.")
        if _NO_WORDS.fullmatch(value):
            raise UserError(f"{where} is empty: send its turns, one per line, as in {_EXAMPLE}.")
        if len(value) > limits.max_chars:
            raise UserError(f"{where} has {len(value)} characters, but at most {limits.max_chars} are allowed.")
        if not any(letter.isalpha() for letter in value):
            raise UserError(f"{where} ('{value[:40]}') has no words: send its turns as text, as in {_EXAMPLE}.")
        texts.append(value)
    return texts


def request_generation(
    default: Generation, params: Mapping[str, Any], new_token_limit: int | None = None
) -> Generation:
    """Return the generation settings of one request: the model's own with the request's params, and one summary each.

    ``new_token_limit`` is how many tokens the model has positions for, if that is bounded. Raises UserError for a value
    that is out of bounds.
    """
    limits = {**LIMITS, "max_new_tokens": min(new_token_limit or LIMITS["max_new_tokens"], LIMITS["max_new_tokens"])}
    requested = {name: value for name, value in params.items() if name in PARAMS and value is not None}
    for name, limit in limits.items():
        if not abs(requested.get(name, 0)) <= max(limit, getattr(default, name)):
            raise UserError(f"params.{name} is {requested[name]}, but at most {limit} is allowed.")
    try:
        settings = Generation.model_validate({**default.model_dump(), **requested, "num_return_sequences": 1})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = str(first["loc"][0]) if first["loc"] else "generation"
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise UserError(f"params.{key} is {first['input']!r}, but {message}.") from error
    if settings.min_new_tokens > settings.max_new_tokens:
        raise UserError(
            f"params.min_new_tokens is {settings.min_new_tokens}, more than max_new_tokens, {settings.max_new_tokens}."
        )
    return settings
