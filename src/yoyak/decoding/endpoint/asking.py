"""Asking an endpoint: several requests at a time, within its limits and the budget, again where a reason may pass."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from yoyak.decoding.deadline import check_deadline
from yoyak.decoding.endpoint.limits import Limits
from yoyak.decoding.endpoint.store import Answer, Store
from yoyak.errors import UnavailableError, UserError, first_line
from yoyak.models.endpoint import describe_refusal, open_client, read_key, redact
from yoyak.models.prompts import Message
from yoyak.params.endpoint import Endpoint
from yoyak.tracking.traces import Traces

if TYPE_CHECKING:
    from openai import AsyncOpenAI

PASSING = (408, 409, 425, 429)
"""Statuses that may pass, besides those of a failing server."""
NO_CREDIT = ("insufficient_quota", "billing_hard_limit_reached")
"""Codes of a 429 that does not pass by waiting."""
LOOK = 0.2
"""Seconds between two looks at whether anybody still waits."""
MESSAGE_TOKENS = 16
"""What a message's role and marks take, at most."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, and the key of its answer."""

    key: str
    body: Mapping[str, Any]

    @property
    def messages(self) -> Sequence[Message]:
        messages: Sequence[Message] = self.body["messages"]
        return messages

    @property
    def prompt_bytes(self) -> int:
        """Its size: no tokenizer makes more than a token of a byte."""
        return sum(len(message["content"].encode()) + MESSAGE_TOKENS for message in self.messages)


class PassingError(Exception):
    """A try failed for a reason that may pass."""

    def __init__(self, reason: str, *, wait: float | None = None, is_lost: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        """Seconds after which the endpoint wants to be asked again, if it says so."""
        self.is_lost = is_lost
        """Whether an answer may have been made and paid for."""


class OutOfBudgetError(Exception):
    """The next request may cost more than is left."""


class StoppedError(Exception):
    """Another request has failed for good, so that this one is not sent."""


class Asker:
    """Asks one endpoint for one member. What it is told is kept at once, so that an interruption loses little."""

    def __init__(self, name: str, endpoint: Endpoint, store: Store) -> None:
        self.name, self.endpoint, self.store = name, endpoint, store
        self.limits = Limits(endpoint.requests_per_minute, endpoint.tokens_per_minute)
        self.tries = self.retries = 0
        self.estimated = 0
        """Answers whose tokens the endpoint did not count."""
        self._tokens_per_byte = 1.0
        self._read_bytes = self._read_tokens = 0
        self._in_flight = 0
        self._failure: Exception | None = None
        self._stopped = asyncio.Event()
        self._settled = asyncio.Event()

    async def ask(
        self, requests: Sequence[Request], advance: Callable[[], object], traces: Traces
    ) -> dict[str, Answer]:
        """Return the answer to each request by its key; ``advance`` is called after each.

        Raises UnavailableError once a request has failed for good; those under way are waited for and kept before.
        """
        key = read_key(self.endpoint, f"members.{self.name}")
        answers: dict[str, Answer] = {}
        self._failure = None
        # An event belongs to the loop in which it was waited for first.
        self._stopped, self._settled = asyncio.Event(), asyncio.Event()
        async with open_client(self.endpoint, key, self.endpoint.timeout_seconds) as client:
            waiting = iter(requests)
            workers = [
                asyncio.create_task(self._work(client, key, waiting, answers, advance, traces))
                for _ in range(min(self.endpoint.concurrency, len(requests)))
            ]
            try:
                while not all(worker.done() for worker in workers):
                    await asyncio.wait(workers, timeout=LOOK)
                    check_deadline()
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        if self._failure is not None:
            raise self._describe_failure(len(requests) - len(answers))
        return answers

    def cost(self, read: float, written: float) -> float:
        """Return the price of so many tokens."""
        price = self.endpoint.price
        return (read * price.input + written * price.output) / 1e6 if price else 0.0

    async def _work(
        self,
        client: AsyncOpenAI,
        key: str,
        waiting: Iterator[Request],
        answers: dict[str, Answer],
        advance: Callable[[], object],
        traces: Traces,
    ) -> None:
        for request in waiting:
            try:
                with traces.span(self.name, self.endpoint.model, request.messages) as span:
                    answers[request.key] = answer = await self._ask_again(client, key, request)
                    span.end(answer.text, read=answer.read, written=answer.written)
                advance()
            except StoppedError:
                return
            except Exception as error:
                self._failure = self._failure or error
                self._stopped.set()
            if self._stopped.is_set():
                return

    async def _ask_again(self, client: AsyncOpenAI, key: str, request: Request) -> Answer:
        for attempt in range(self.endpoint.retries + 1):
            try:
                return await self._ask_once(client, key, request)
            except PassingError as error:
                if attempt == self.endpoint.retries:
                    raise
                wait = error.wait
                if wait is not None and wait > self.endpoint.max_wait_seconds:
                    raise UserError(
                        f"{error}; it asks for {wait:.0f} s of patience, and max_wait_seconds is "
                        f"{self.endpoint.max_wait_seconds:g}"
                    ) from None
                if wait is not None:
                    # Whoever asks too much is asked to wait with everything, not with this request alone.
                    self.limits.pause(wait)
                self.retries += 1
                backoff = min(self.endpoint.backoff_seconds * 2**attempt, self.endpoint.max_wait_seconds)
                await self._sleep(max(wait or 0.0, backoff * random.uniform(0.5, 1.0)))
        raise AssertionError("the last try returns or raises")

    async def _ask_once(self, client: AsyncOpenAI, key: str, request: Request) -> Answer:
        most = request.prompt_bytes
        limit = self.endpoint.max_tokens
        charge = await self._reserve(self.cost(most, limit))
        may_be_billed = False
        try:
            guess = most * self._tokens_per_byte + limit
            wait = self.limits.take(guess)
            while wait > 0 or self.limits.pause_left > 0:
                await self._sleep(max(wait, self.limits.pause_left))
                wait = 0.0
            self.tries += 1
            may_be_billed = True
            answer, counted = await self._send(client, key, request)
            self.limits.tokens.give_back(guess - answer.read - answer.written)
            if counted:
                self._read_bytes, self._read_tokens = self._read_bytes + most, self._read_tokens + answer.read
                self._tokens_per_byte = self._read_tokens / self._read_bytes
            else:
                self.estimated += 1
            self.store.keep(request.key, answer, charge, self.cost(answer.read, answer.written))
            return answer
        except PassingError as error:
            may_be_billed = error.is_lost
            raise
        except UserError:
            may_be_billed = False
            raise
        finally:
            # An answer has settled its charge; a request that was cut off may be billed all the same.
            if not may_be_billed:
                self.store.settle(charge, 0.0)
            self._in_flight -= 1
            self._settled.set()

    async def _sleep(self, seconds: float) -> None:
        """Wait, but no longer than until another request has failed for good. Raises StoppedError then."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopped.wait(), seconds)
        if self._stopped.is_set():
            raise StoppedError

    async def _reserve(self, cost: float) -> int:
        """Charge the most that a request can cost, once those under way have settled if that is too much as yet."""
        while True:
            charge = self.store.reserve(self.name, cost, self.endpoint.budget)
            if charge is not None:
                self._in_flight += 1
                return charge
            if not self._in_flight:
                raise OutOfBudgetError
            self._settled.clear()
            await self._settled.wait()

    async def _send(self, client: AsyncOpenAI, key: str, request: Request) -> tuple[Answer, bool]:
        """Send a request once. Returns the answer, and whether the endpoint counted its tokens."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        endpoint, where = self.endpoint, self.endpoint.base_url
        try:
            raw = await asyncio.wait_for(
                client.chat.completions.with_raw_response.create(**request.body), endpoint.timeout_seconds
            )
            return self._read(raw.http_response.text, request)
        except APIStatusError as error:
            status = error.status_code
            if (status in PASSING or status >= 500) and error.code not in NO_CREDIT:
                reason = redact(f"{where} answered {status}: {first_line(error)}", key)
                raise PassingError(reason, wait=_retry_after(error.response.headers)) from None
            raise UserError(describe_refusal(error, endpoint, key)) from None
        except (APITimeoutError, TimeoutError):
            reason = f"{where} gave no answer within {endpoint.timeout_seconds:g} s (timeout_seconds)"
            raise PassingError(reason, is_lost=True) from None
        except APIConnectionError as error:
            reason = redact(f"the connection to {where} failed ({first_line(error.__cause__ or error)})", key)
            raise PassingError(reason, is_lost=not _was_refused(error)) from None
        except (OpenAIError, ValueError, TypeError, KeyError, IndexError, AttributeError):
            raise PassingError(f"{where} answered with what is not a chat completion", is_lost=True) from None

    def _read(self, text: str, request: Request) -> tuple[Answer, bool]:
        """Return the answer in the body of a response. Raises one of several errors if it is not a completion."""
        value = json.loads(text)
        choice = value["choices"][0]
        # None is the answer of a filter, or of a model that thought until max_tokens: asking again gives no other.
        content = choice["message"].get("content") or ""
        usage = value.get("usage")
        counted = bool(usage)
        read = int(usage["prompt_tokens"]) if usage else request.prompt_bytes
        written = int(usage["completion_tokens"]) if usage else min(len(content.encode()), self.endpoint.max_tokens)
        reason = str(choice.get("finish_reason") or "")
        return Answer(content.strip(), read, written, reason), counted

    def _describe_failure(self, missing: int) -> Exception:
        """Return what to raise for the first failure."""
        left = (
            f"{missing} summaries are missing; those that are there are kept and cost nothing again: "
            "the same command goes on from here"
        )
        where, error = f"members.{self.name}", self._failure
        if isinstance(error, OutOfBudgetError):
            spent = self.store.spent(self.name)
            return UnavailableError(
                f"{where}: the next request may exceed the budget of {self.endpoint.budget:g}, of which {spent:.6g} is "
                f"spent; {left} once budget is raised."
            )
        if not isinstance(error, UserError | PassingError):
            return error or AssertionError("nothing has failed")
        tries = f" {self.endpoint.retries + 1} times" if isinstance(error, PassingError) else ""
        return UnavailableError(f"{where}: {str(error).rstrip('.')}{tries}; {left}.")


def _was_refused(error: BaseException) -> bool:
    """Return whether a connection was never made, so that nothing can have been answered."""
    cause = error.__cause__
    return type(cause).__name__ in ("ConnectError", "ConnectTimeout", "UnsupportedProtocol")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a Retry-After asks for, as a number or a date; None if there is none."""
    value = headers.get("retry-after")
    if value is None:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None


def unique(requests: Iterable[Request]) -> list[Request]:
    """Return the requests without those that ask the same again."""
    return list({request.key: request for request in requests}.values())
