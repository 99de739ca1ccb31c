"""What answers requests: a model with its limits, its queue and its share of the memory.

engine = Engine(folder, served=True)
answers = engine.ask(*engine.prepare(["#Person1#: …"], {"num_beams": 2}))
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yoyak.decoding.memory import bytes_per_dialogue, count_searches, reads_windows, release_memory
from yoyak.decoding.summarizer import WINDOWS, Joinable
from yoyak.errors import UserError
from yoyak.serving import environment
from yoyak.serving.batching import CHECK, Batcher
from yoyak.serving.continuous import ContinuousBatcher
from yoyak.serving.loading import load_summarizer
from yoyak.serving.memory import MemoryKeeper, return_memory, search_memory
from yoyak.serving.queued import Answer
from yoyak.serving.requests import check_dialogues, request_generation
from yoyak.serving.settings import load_serving

if TYPE_CHECKING:
    from yoyak.params import Generation
    from yoyak.serving.metrics import Metrics


PATIENCE = 1 / 6
"""The part of the timeout after which a long search is ended if others wait."""


class ClientGoneError(Exception):
    """The client closed the connection before its answer was there."""


class Engine:
    """A model that answers requests; simultaneous ones share batches."""

    def __init__(self, folder: Path, *, served: bool) -> None:
        """Load a model's folder.

        Args:
            served: Whether requests come from a network. A program that calls the model may pass a table of any size.
        """
        self.limits = load_serving(folder)
        self.summarizer = load_summarizer(folder, threads=self.limits.threads)
        self.served = served
        self.reads_windows = reads_windows(self.summarizer)
        self.metrics: Metrics | None = None
        self.batch_size = self.summarizer.generation.batch_size
        if isinstance(self.limits.batch_size, int):
            self.batch_size = self.limits.batch_size
        if not served:
            self.limits = self.limits.model_copy(update={"max_rows": sys.maxsize})
        self.timeout = request_timeout() if served else None
        self.batcher = self._make_batcher()
        if served:
            # Measures a model in torch now, rather than during the first request; what it takes is not free then.
            self._cost(self.summarizer.generation)
            # Loading a graph takes twice the memory that it needs later.
            return_memory()
        self.memory = search_memory(self.limits.memory_mb) if served else 0
        self.keeper = MemoryKeeper()

    def _make_batcher(self) -> Batcher:
        options: dict[str, Any] = {
            "batch_size": self.batch_size,
            "max_wait": self.limits.max_wait_ms / 1000,
            "capacity": self.limits.queue_size,
            "timeout": self.timeout,
        }
        if not self.served:
            return Batcher(self.write, **options)
        options |= {"rows_at_once": self.rows_at_once, "patience": self.patience}
        model = self.summarizer
        if self.limits.batching == "continuous" and isinstance(model, Joinable) and model.is_joinable:
            return ContinuousBatcher(
                self.write, open_run=model.open_run, observe=self.observe, rest=self.rest, **options
            )
        return Batcher(self.write, **options)

    def prepare(
        self, dialogues: Sequence[object], params: Mapping[str, Any]
    ) -> tuple[list[str], Generation, list[int]]:
        """Return the texts and the settings of a request, and how many rows of a batch each text takes.

        Raises UserError where anything is wrong or too much.
        """
        texts = check_dialogues(dialogues, self.limits)
        settings = request_generation(self.summarizer.generation, params, self.summarizer.new_token_limit)
        settings = settings.model_copy(update={"batch_size": self.batch_size})
        if self.served:
            # Before anything is counted that takes time.
            self._check_size(len(texts), settings)
        costs = count_searches(self.summarizer, texts) if self.reads_windows else [1] * len(texts)
        if self.served:
            self._check_size(sum(costs), settings)
        return texts, settings, costs

    def _check_size(self, rows: int, settings: Generation) -> None:
        tokens = rows * settings.num_beams * settings.max_new_tokens
        if tokens > self.limits.max_tokens:
            rows_of = "parts of dialogues" if self.reads_windows else "dialogues"
            raise UserError(
                f"The request asks for up to {tokens} tokens ({rows_of} x num_beams x max_new_tokens), but at most "
                f"{self.limits.max_tokens} are allowed: send fewer dialogues, or lower num_beams or max_new_tokens."
            )
        one, default = settings.num_beams * settings.max_new_tokens, self.summarizer.generation
        longest = max(self.limits.max_batch_tokens, default.num_beams * default.max_new_tokens)
        if one > longest:
            raise UserError(
                f"A dialogue with these num_beams and max_new_tokens has up to {one} tokens, but at most {longest} are "
                "allowed: lower one of them."
            )
        if self.rows_at_once(settings) == 0:
            raise UserError(
                f"A dialogue with these num_beams and max_new_tokens takes up to {self._cost(settings) >> 20} MB, but "
                f"at most {self.memory >> 20} MB are allowed: lower one of them."
            )

    def rows_at_once(self, settings: Generation) -> int:
        """Return how many dialogues with these settings a batch may have; 0 if there is no memory for even one."""
        fitting = self.memory // max(1, self._cost(settings))
        by_tokens = max(1, self.limits.max_batch_tokens // (settings.num_beams * settings.max_new_tokens))
        return min(self.batch_size, by_tokens, fitting)

    def patience(self, settings: Generation) -> float:
        """Return how many seconds a batch may keep others waiting: those that ask for more than the model's own search
        a part of the timeout, all others until they are timed out.
        """
        default = self.summarizer.generation
        is_long = settings.num_beams * settings.max_new_tokens > default.num_beams * default.max_new_tokens
        return PATIENCE * self.timeout if is_long and self.timeout is not None else float("inf")

    def _cost(self, settings: Generation) -> int:
        return bytes_per_dialogue(self.summarizer, settings)

    def ask(self, texts: list[str], settings: Generation, costs: Sequence[int] = ()) -> list[Answer]:
        """Return the answers, from any thread."""
        return self.batcher.ask(texts, settings, costs)

    async def answer(
        self,
        texts: list[str],
        settings: Generation,
        costs: Sequence[int] = (),
        *,
        label: str,
        gone: Callable[[], Coroutine[Any, Any, object]],
    ) -> list[Answer]:
        """Return the answers, from an event loop.

        Args:
            costs: How many rows of a batch each text takes, as `prepare` says.
            label: The request's name in the log.
            gone: Returns once the client has closed its connection: raises ClientGoneError then.
        """
        request = self.batcher.submit(texts, settings, label, costs)
        self.show_queue()
        answered, left = asyncio.wrap_future(request.future), asyncio.ensure_future(gone())
        try:
            while not answered.done():
                wait = max(0.0, min(CHECK, request.deadline - time.monotonic()))
                await asyncio.wait((answered, left), timeout=wait, return_when=asyncio.FIRST_COMPLETED)
                if left.done() and not answered.done():
                    raise ClientGoneError
                self.batcher.check(request)
                if request.future.done():
                    break
            return await answered
        finally:
            left.cancel()
            self.batcher.withdraw(request)
            self.show_queue()

    def show_queue(self) -> None:
        """Note how many dialogues wait, whenever that changes: another process of the server may be asked for it."""
        if self.metrics:
            self.metrics.queue.set(self.batcher.waiting)

    def write(self, texts: list[str], settings: Generation) -> list[Answer]:
        """Summarize a batch; only the batcher's thread does."""
        started = time.perf_counter()
        self.show_queue()
        try:
            if self.served:
                # A dialogue that is read in parts has more rows than one, which must fit into memory as well.
                settings = settings.model_copy(update={"batch_size": max(1, self.rows_at_once(settings))})
            summaries = self.summarizer.summarize(texts, generation=settings)
        finally:
            if self.metrics:
                self.metrics.observe_batch(len(texts), time.perf_counter() - started)
            if not self.batcher.waiting:
                self.rest()
        answers = list(map(Answer, summaries.texts, summaries.cut, summaries.read))
        self._count(answers)
        return answers

    def observe(self, count: int, seconds: float, answers: Sequence[Answer]) -> None:
        """Note a step that wrote tokens of ``count`` dialogues, and what it has finished."""
        self.show_queue()
        if self.metrics:
            self.metrics.observe_batch(count, seconds)
        self._count(answers)

    def rest(self) -> None:
        """Give memory back, if a server has nothing to do."""
        if self.served:
            self.keeper.settle(lambda: release_memory(self.summarizer))

    def _count(self, answers: Sequence[Answer]) -> None:
        if self.metrics and answers:
            windowed = sum(WINDOWS in answer.read for answer in answers)
            truncated = sum(answer.truncated for answer in answers)
            self.metrics.count_dialogues(len(answers), truncated=truncated, windowed=windowed)


def request_timeout() -> float:
    """Return the seconds in which a request is answered. Raises UserError where that is no number."""
    text = os.environ.get(environment.TIMEOUT, "")
    try:
        seconds = float(text or environment.DEFAULT_TIMEOUT)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise UserError(f"{environment.TIMEOUT} is {text!r}, but it has to be a number of seconds above 0.")
    return seconds
