"""The route that clients of OpenAI's chat completions use: the last message of the user is the dialogue.

    client = openai.OpenAI(base_url="http://127.0.0.1:5001/v1", api_key="none")
    client.chat.completions.create(model="yoyak", messages=[{"role": "user", "content": "#Person1#: …"}])

A summarizer follows no instructions, so that system messages and earlier turns are not read. Its search is
deterministic, so that neither are options of sampling.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yoyak.errors import UserError
from yoyak.serving.queued import Answer
from yoyak.serving.requests import PARAMS

if TYPE_CHECKING:
    from yoyak.params import Generation

_MESSAGES = '[{"role": "user", "content": "#Person1#: …"}]'
EXAMPLE = f'"messages" as in {_MESSAGES}'
BODY_EXAMPLE = f'{{"model": "yoyak", "messages": {_MESSAGES}}}'
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
LIMIT_KEYS = ("max_completion_tokens", "max_tokens")
"""The most tokens of an answer, under its new and its old name."""


class UnknownModelError(UserError):
    """The request names a model that is not served here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """What a chat completion asks for."""

    dialogue: str
    params: Mapping[str, Any]
    """Values of `requests.PARAMS`."""
    stream: bool


def read_chat(body: Mapping[str, Any], model: str, default: Generation) -> ChatRequest:
    """Return what a body asks for. Raises UserError, and UnknownModelError where it names another model."""
    name = body.get("model")
    if not isinstance(name, str):
        raise UserError('The body needs a "model": GET /v1/models names the one that is served.')
    if name != model:
        raise UnknownModelError("This model is not served here: GET /v1/models names the one that is.")
    stream = body.get("stream") or False
    if not isinstance(stream, bool):
        raise UserError('"stream" must be true or false.')
    if body.get("n") not in (None, 1):
        raise UserError('"n" must be 1: a dialogue has one summary.')
    if body.get("tools") or body.get("functions"):
        raise UserError("The model calls no tools: leave them out.")
    params = {key: body[key] for key in PARAMS if body.get(key) is not None}
    return ChatRequest(
        dialogue=_last_dialogue(body.get("messages")), params={**_limit(body, default), **params}, stream=stream
    )


def _last_dialogue(messages: object) -> str:
    """Return the text of the last message of the user."""
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise UserError(f"The body needs {EXAMPLE}.")
    if any(message.get("role") not in ROLES for message in messages):
        raise UserError(f"Each message needs a role, one of {', '.join(ROLES)}.")
    mine = [message.get("content") for message in messages if message["role"] == "user"]
    if not mine:
        raise UserError(f"No message is the user's: send the dialogue in {EXAMPLE}.")
    content = mine[-1]
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        if not all(isinstance(part, str) for part in parts):
            raise UserError('The parts of a message must be texts, as in {"type": "text", "text": "#Person1#: …"}.')
        return "\n".join(str(part) for part in parts)
    if not isinstance(content, str):
        raise UserError(f"The content of the user's last message must be the dialogue: send {EXAMPLE}.")
    return content


def _limit(body: Mapping[str, Any], default: Generation) -> dict[str, int]:
    """Return the params that keep an answer within the limit of a body, and no longer than the model's own answers."""
    key = next((key for key in LIMIT_KEYS if body.get(key) is not None), None)
    if key is None:
        return {}
    value = body[key]
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(f'"{key}" must be a whole number of 1 or more.')
    limit = min(value, default.max_new_tokens)
    return {"max_new_tokens": limit, "min_new_tokens": min(limit, default.min_new_tokens)}


def completion(request_id: str, model: str, answer: Answer) -> dict[str, Any]:
    """Return a summary as a chat completion. What it says of how the dialogue was read is ours."""
    message = {"role": "assistant", "content": answer.summary, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return {**_head(request_id, "chat.completion", model), "choices": [choice], **_reading(answer)}


def stream_completion(request_id: str, model: str, answer: Answer) -> Iterator[str]:
    """Yield a summary as a stream of events: whole, since a search knows its best summary only at its end."""
    head = _head(request_id, "chat.completion.chunk", model)
    for delta, reason in (({"role": "assistant", "content": answer.summary}, None), ({}, "stop")):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        yield f"data: {json.dumps({**head, 'choices': [choice], **_reading(answer)}, ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


def _reading(answer: Answer) -> dict[str, Any]:
    return {"truncated": answer.truncated, "read": answer.read}


def _head(request_id: str, kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{request_id}", "object": kind, "created": int(time.time()), "model": model}
