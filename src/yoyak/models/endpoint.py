"""A chat endpoint with OpenAI's interface: its key, a client for it, and whether it answers and has the model.

The key is read from the environment and goes into the requests' headers only: no error, log or file shows it.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from yoyak.errors import UnavailableError, UserError, first_line, nearest
from yoyak.params.endpoint import Endpoint

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

CHECK_SECONDS = 10.0
"""How long `yoyak check` waits for the list of models."""
NO_KEY = "none"
"""Sent to endpoints that want no key: the client insists on one."""
Result = TypeVar("Result")


def read_key(endpoint: Endpoint, where: str) -> str:
    """Return the key from the environment; ``where`` is the member in the UnavailableError if there is none."""
    name = endpoint.api_key_env
    if name is None:
        return NO_KEY
    key = os.environ.get(name, "").strip()
    if not key:
        raise UnavailableError(
            f"{where}: the environment variable {name} is not set: export the key of {endpoint.base_url}."
        )
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise UnavailableError(f"{where}: {name} holds spaces or characters that no key has: export it again.")
    return key


def redact(text: str, key: str) -> str:
    """Return a text without the key, which some servers repeat in their errors."""
    return text if key == NO_KEY else text.replace(key, "***")


def open_client(endpoint: Endpoint, key: str, timeout: float) -> AsyncOpenAI:
    """Return a client that tries once: tries are counted and spaced by who uses it."""
    from openai import AsyncOpenAI

    return AsyncOpenAI(base_url=endpoint.base_url, api_key=key, max_retries=0, timeout=timeout)


def describe_refusal(error: APIStatusError, endpoint: Endpoint, key: str) -> str:
    """Return why the endpoint refuses a request and what to change, as the end of a sentence."""
    reason = redact(first_line(error), key)
    if error.status_code in (401, 403):
        if endpoint.api_key_env is None:
            return f"{endpoint.base_url} wants a key ({error.status_code}): name its variable in api_key_env"
        return (
            f"{endpoint.base_url} refuses the key in {endpoint.api_key_env} ({error.status_code}): export another one"
        )
    if error.status_code == 404:
        return f"{endpoint.base_url} has no chat completions, or no model '{endpoint.model}' ({reason})"
    if error.status_code == 413 or "context" in reason.lower():
        return f"{endpoint.base_url} refuses a dialogue ({reason}): set max_input_chars"
    return f"{endpoint.base_url} refuses the request ({reason})"


def check_endpoint(endpoint: Endpoint, where: str) -> tuple[Literal["ok", "warning"], str]:
    """Return whether the endpoint answers and has the model. It is asked for its models, which costs nothing.

    Raises UserError if it cannot be used.
    """
    from openai import APIConnectionError, APIStatusError, OpenAIError

    key = read_key(endpoint, where)

    async def list_models() -> list[str]:
        async with open_client(endpoint, key, CHECK_SECONDS) as client:
            return [model.id async for model in client.models.list()]

    try:
        models = run_async(asyncio.wait_for(list_models(), CHECK_SECONDS))
    except APIStatusError as error:
        if error.status_code in (404, 405, 501):
            return "warning", f"{endpoint.base_url} answers, and does not list its models"
        raise UserError(f"{where}: {describe_refusal(error, endpoint, key)}.") from None
    except (APIConnectionError, TimeoutError) as error:
        reason = redact(first_line(error.__cause__ or error), key)
        raise UserError(f"{where}: {endpoint.base_url} does not answer ({reason}): is base_url right?") from None
    except (OpenAIError, ValueError, TypeError, AttributeError):
        return "warning", f"{endpoint.base_url} answers, and not with a list of models"
    if endpoint.model not in models:
        raise UserError(
            f"{where}: {endpoint.base_url} has no model '{endpoint.model}'{nearest(endpoint.model, models)}."
        )
    return "ok", f"{endpoint.base_url} has {endpoint.model}"


def run_async(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end, also where an event loop is running already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()
