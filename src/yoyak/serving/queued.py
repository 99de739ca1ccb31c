"""A request in the queue of the batcher, its answers, and the ways in which it fails."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from yoyak.errors import UserError

if TYPE_CHECKING:
    from yoyak.params import Generation


class QueueFullError(UserError):
    """The queue is full."""


class QueueTimeoutError(UserError):
    """A request waited longer than its client waits for the answer."""


class WorkerDiedError(UserError):
    """The worker died while it had the request's batch."""


class DialogueFailedError(UserError):
    """One of the request's dialogues cannot be summarized; what the work raised is its cause."""


class Answer(NamedTuple):
    """The answer for one dialogue."""

    summary: str
    truncated: bool
    """Whether the model did not read a part of the dialogue, because it does not fit."""
    read: str = "whole"
    """How it was read: ``whole``, from the ``head``, the ``tail`` or ``both``, or in ``windows``."""


@dataclass(eq=False, slots=True)
class Request:
    """Texts that wait for their answers, or have them."""

    texts: Sequence[str]
    settings: Generation
    number: int
    deadline: float
    """When its client stops waiting, on the clock of `time.monotonic`."""
    label: str = ""
    """What the log calls it."""
    costs: Sequence[int] = ()
    """How many rows of a batch each text takes; empty if each takes one."""
    received_at: float = field(default_factory=time.monotonic)
    future: Future[list[Answer]] = field(default_factory=Future)
    """Its answers in the order of its texts, once all are there."""
    _answers: dict[int, Answer] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nobody waits for its answers: it has them, or failed, or its client is gone."""
        return self.future.done() or time.monotonic() > self.deadline

    def cost(self, index: int) -> int:
        """Return how many rows of a batch one of the texts takes."""
        return self.costs[index] if self.costs else 1

    def answer(self, index: int, answer: Answer) -> None:
        """Keep the answer of one text."""
        self._answers[index] = answer
        if len(self._answers) == len(self.texts):
            with suppress(InvalidStateError):
                self.future.set_result([self._answers[number] for number in range(len(self.texts))])

    def fail(self, error: Exception) -> None:
        """Let the whole request fail, if it is not over yet."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)
