"""Gathering the dialogues of requests at the same time into batches, which one thread answers.

    batcher = Batcher(work, size=32, max_wait=0.005, room=256)
    batcher.ask(["#Person1#: …"], settings)  # from any thread: waits for its own answers

``work(texts, settings)`` returns an answer for each text. It is called from one thread alone, so it need not be safe
for several.

Rows take turns as in fair queueing: the first row of a request has the turn behind the one that is served, its second
row the turn after that, and so on. A small request passes by the many rows of a big one, and no row waits forever,
since turns only grow.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from yoyak.errors import UserError

if TYPE_CHECKING:
    from yoyak.params import Generation

CHECK = 0.5
"""Seconds after which one that waits looks whether the worker is still alive."""
IDLE = 20.0
"""Seconds without a request after which the worker ends; with it goes what holds a model in memory."""
REACH = 2
"""Batches ahead in which dialogues of like length are looked for."""

_log = logging.getLogger(__name__)


class BusyError(UserError):
    """There is no room in the queue."""


class LateError(UserError):
    """A request waited longer than anyone waits for its answer."""


class LostError(UserError):
    """The worker died with the request's batch."""


class FailedError(UserError):
    """One of the request's dialogues cannot be answered; what the work raised is its cause."""


class Answer(NamedTuple):
    """What is said of one dialogue."""

    summary: str
    truncated: bool
    """Whether the model read only its beginning, because its window ends there."""


Work = Callable[[list[str], "Generation"], Sequence[Answer]]


@dataclass(eq=False, slots=True)
class _Request:
    texts: Sequence[str]
    settings: Generation
    number: int
    born: float = field(default_factory=time.monotonic)
    answers: dict[int, Answer] = field(default_factory=dict)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    def answer(self, place: int, answer: Answer) -> None:
        self.answers[place] = answer
        if len(self.answers) == len(self.texts):
            self.done.set()

    def fail(self, error: Exception) -> None:
        if not self.done.is_set():
            self.error = error
            self.done.set()


@dataclass(eq=False, slots=True)
class _Row:
    request: _Request
    place: int
    turn: int

    @property
    def text(self) -> str:
        return self.request.texts[self.place]


class Batcher:
    """A bounded queue of dialogues and the thread that answers them in batches."""

    def __init__(
        self, work: Work, *, size: int, max_wait: float = 0.0, room: int = 256, patience: float | None = None
    ) -> None:
        """Take what answers a batch; the thread begins with the first request.

        Args:
            work: Answers texts that are to be written with the same settings.
            size: Dialogues of a batch.
            max_wait: Seconds that the first dialogue of a batch waits for others.
            room: Dialogues that may wait. A request that is alone is taken whatever its size.
            patience: Seconds after which no one waits for an answer any more; None is forever.
        """
        self.work, self.size, self.max_wait, self.room, self.patience = work, size, max_wait, room, patience
        self._reset()
        if hasattr(os, "register_at_fork"):
            own = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _forked(own()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what it was made of, not its thread."""
        return _make, (self.work, self.size, self.max_wait, self.room, self.patience)

    def _reset(self) -> None:
        """Begin anew: neither locks nor threads come along into a forked process."""
        self._changed = threading.Condition()
        self._rows: list[_Row] = []
        self._batch: list[_Row] = []
        self._turn = 0
        self._numbers = itertools.count()
        self._worker: threading.Thread | None = None

    def ask(self, texts: Sequence[str], settings: Generation) -> list[Answer]:
        """Return the answer of each text, in their order, once all are there.

        Raises BusyError where the queue has no room, LateError where the request waited too long, LostError where the
        worker died, and FailedError where one of its own texts cannot be answered.
        """
        if not texts:
            return []
        request = _Request(texts, settings, next(self._numbers))
        try:
            with self._changed:
                self._queue(request)
                self._revive()
                self._changed.notify_all()
            while not request.done.wait(CHECK):
                with self._changed:
                    self._revive()
        finally:
            if len(request.answers) < len(texts):
                with self._changed:
                    self._rows = [row for row in self._rows if row.request is not request]
        if request.error is not None:
            raise request.error
        return [request.answers[place] for place in range(len(texts))]

    def _queue(self, request: _Request) -> None:
        waiting, added = len(self._rows), len(request.texts)
        if waiting and waiting + added > self.room:
            raise BusyError(
                f"The queue has room for {self.room} dialogues; {waiting} wait already, and this request has {added}: "
                "send it again in a moment."
            )
        first = self._turn + 1
        self._rows += [_Row(request, place, first + place) for place in range(added)]
        self._rows.sort(key=lambda row: (row.turn, row.request.number))

    def _revive(self) -> None:
        """See that there is a worker while rows wait, and tell those whose batch a dead one had."""
        if self._worker is not None and self._worker.is_alive():
            return
        self._bury()
        if self._rows:
            self._worker = threading.Thread(target=self._serve, name="yoyak-batches", daemon=True)
            self._worker.start()

    def _bury(self) -> None:
        for row in self._batch:
            row.request.fail(LostError("The worker that summarized this request died: send it again."))
        self._batch, self._worker = [], None

    def _serve(self) -> None:
        try:
            while batch := self._next():
                self._answer(batch)
        except BaseException:
            _log.critical("the worker died, the next request starts another", exc_info=True)
            with self._changed:
                self._bury()

    def _next(self) -> list[_Row]:
        """Return the next batch as soon as it is full, or its first row has waited enough; none ends the worker."""
        with self._changed:
            self._batch = []
            while True:
                self._drop_late()
                if not self._rows:
                    if not self._changed.wait(IDLE) and not self._rows:
                        self._worker = None
                        return []
                    continue
                batch = self._choose()
                left = batch[0].request.born + self.max_wait - time.monotonic()
                if len(batch) == self.size or left <= 0:
                    taken = set(batch)
                    self._rows = [row for row in self._rows if row not in taken]
                    self._turn = max(row.turn for row in batch)
                    self._batch = batch
                    return batch
                self._changed.wait(left)

    def _choose(self) -> list[_Row]:
        """Return the row whose turn it is, with those that are written alike and are near to it in length."""
        first = self._rows[0]
        alike = [row for row in self._rows if row.request.settings == first.request.settings]
        length = len(first.text)
        return sorted(alike[: REACH * self.size], key=lambda row: abs(len(row.text) - length))[: self.size]

    def _drop_late(self) -> None:
        if self.patience is None:
            return
        now = time.monotonic()
        for row in self._rows:
            if now - row.request.born > self.patience:
                waited = f"This request waited more than {self.patience:g} s for its turn"
                row.request.fail(LateError(f"{waited}: send it again later."))
        self._rows = [row for row in self._rows if not row.request.done.is_set()]

    def _answer(self, batch: list[_Row]) -> None:
        """Answer each row; where that fails, halve the batch until the one at fault is alone."""
        rows = [row for row in batch if not row.request.done.is_set()]
        if not rows:
            return
        try:
            answers = self.work([row.text for row in rows], rows[0].request.settings)
            if len(answers) != len(rows):
                raise RuntimeError(f"{len(rows)} dialogues have {len(answers)} answers")
        except Exception as error:
            if len(rows) == 1:
                self._fail(rows[0], error)
                return
            middle = len(rows) // 2
            self._answer(rows[:middle])
            self._answer(rows[middle:])
            return
        for row, answer in zip(rows, answers, strict=True):
            row.request.answer(row.place, answer)

    def _fail(self, row: _Row, error: Exception) -> None:
        which = f"Dialogue {row.place + 1} of {len(row.request.texts)}"
        known = isinstance(error, UserError)
        if not known:
            _log.error("%s cannot be summarized", which, exc_info=error)
        reason = str(error) if known else f"the model fails with {type(error).__name__}; the server's log says more."
        failed = FailedError(f"{which} cannot be summarized: {reason}")
        failed.__cause__ = error
        row.request.fail(failed)


def _forked(batcher: Batcher | None) -> None:
    if batcher is not None:
        batcher._reset()


def _make(work: Work, size: int, max_wait: float, room: int, patience: float | None) -> Batcher:
    return Batcher(work, size=size, max_wait=max_wait, room=room, patience=patience)
