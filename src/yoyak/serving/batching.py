"""Gathering the dialogues of simultaneous requests into batches, which one thread answers.

    batcher = Batcher(work, batch_size=32, max_wait=0.005, capacity=256)
    batcher.ask(["#Person1#: …"], settings)  # from any thread: waits for its own answers

``work(texts, settings)`` returns an answer for each text. It is only called from one thread, so it need not be
thread-safe. Once nobody waits for a batch any more, its search is ended (`decoding.deadline`).

Rows take turns as in fair queueing: the first row of a request has the turn after the current one, its second row the
turn after that, and so on; of rows with the same turn, the smaller request's is first. A small request overtakes the
many rows of a big one, and no row waits forever, since turns only grow.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from yoyak.decoding.deadline import AbandonedError, ends_when
from yoyak.errors import UnavailableError, UserError
from yoyak.serving.queued import (
    Answer,
    DialogueFailedError,
    QueueFullError,
    QueueTimeoutError,
    Request,
    WorkerDiedError,
)

if TYPE_CHECKING:
    from yoyak.params import Generation

CHECK = 0.5
"""Seconds between checks of a waiting request whether the worker is still alive."""
IDLE = 20.0
"""Seconds without a request after which the worker ends, so that it does not keep a model in memory."""
LOOKAHEAD = 2
"""Batches ahead in the queue that dialogues of similar length are taken from."""

_log = logging.getLogger(__name__)


Work = Callable[[list[str], "Generation"], Sequence[Answer]]


@dataclass(eq=False, slots=True)
class Row:
    """A dialogue of a request."""

    request: Request
    index: int
    turn: int
    started_at: float = float("inf")
    """How many seconds its run had worked when it left the queue, where dialogues join one."""

    @property
    def text(self) -> str:
        """The dialogue."""
        return self.request.texts[self.index]

    @property
    def cost(self) -> int:
        """How many rows of a batch it takes."""
        return self.request.cost(self.index)


class Batcher:
    """A bounded queue of dialogues and the thread that answers them in batches."""

    def __init__(
        self,
        work: Work,
        *,
        batch_size: int,
        max_wait: float = 0.0,
        capacity: int = 256,
        timeout: float | None = None,
        rows_at_once: Callable[[Generation], int] | None = None,
        patience: Callable[[Generation], float] | None = None,
    ) -> None:
        """The thread starts with the first request.

        Args:
            work: Answers a batch of texts that share their settings.
            batch_size: Dialogues of a batch.
            max_wait: Seconds that the first dialogue of a batch waits for others.
            capacity: Dialogues that may wait. A request is accepted whatever its size if no other is waiting.
            timeout: Seconds after which clients stop waiting for an answer; None means never.
            rows_at_once: How many dialogues with these settings fit into a batch, if it can be fewer.
            patience: Seconds after which a batch with these settings is ended for good while other requests wait.
        """
        self.work, self.batch_size, self.max_wait = work, batch_size, max_wait
        self.capacity, self.timeout = capacity, timeout
        self.rows_at_once, self.patience = rows_at_once, patience
        self._reset()
        if hasattr(os, "register_at_fork"):
            reference = weakref.ref(self)
            os.register_at_fork(after_in_child=lambda: _reset_after_fork(reference()))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle its settings, not its thread."""
        names = ("batch_size", "max_wait", "capacity", "timeout", "rows_at_once", "patience")
        return _create, (type(self), self.work, {name: getattr(self, name) for name in names})

    def _reset(self) -> None:
        """Start from scratch: neither locks nor threads survive a fork."""
        self._condition = threading.Condition()
        self._rows: list[Row] = []
        self._batch: list[Row] = []
        self._turn = 0
        self._numbers = itertools.count()
        self._worker: threading.Thread | None = None

    @property
    def waiting(self) -> int:
        """The number of dialogues in the queue."""
        return len(self._rows)

    def ask(self, texts: Sequence[str], settings: Generation, costs: Sequence[int] = ()) -> list[Answer]:
        """Return the answer for each text, in their order, once all are there; ``costs`` as in `Request`.

        Raises QueueFullError where the queue is full, QueueTimeoutError where the request waited too long,
        WorkerDiedError where the worker died, DialogueFailedError where one of its own texts cannot be answered, and
        UnavailableError where what the model needs fails.
        """
        if not texts:
            return []
        request = self.submit(texts, settings, costs=costs)
        try:
            while True:
                try:
                    return request.future.result(CHECK)
                except TimeoutError:
                    self.check(request)
        finally:
            self.withdraw(request)

    def submit(self, texts: Sequence[str], settings: Generation, label: str = "", costs: Sequence[int] = ()) -> Request:
        """Enqueue texts. Whoever waits for the request's future calls `check` every `CHECK` seconds, and `withdraw`
        in the end. Raises QueueFullError.
        """
        deadline = float("inf") if self.timeout is None else time.monotonic() + self.timeout
        request = Request(texts, settings, next(self._numbers), deadline, label, costs)
        with self._condition:
            self._enqueue(request)
            self._ensure_worker()
            self._condition.notify_all()
        return request

    def check(self, request: Request) -> None:
        """Make sure that somebody works on a request, and that its client still waits."""
        with self._condition:
            self._ensure_worker()
        if request.is_over:
            request.fail(self._timed_out())

    def withdraw(self, request: Request) -> None:
        """Take what is left of a request out of the queue; a batch that nobody else waits for is ended."""
        request.future.cancel()
        with self._condition:
            if any(row.request is request for row in self._rows):
                self._rows = [row for row in self._rows if row.request is not request]

    def _enqueue(self, request: Request) -> None:
        waiting, added = len(self._rows), len(request.texts)
        if waiting and waiting + added > self.capacity:
            raise QueueFullError(
                f"The queue has room for {self.capacity} dialogues; {waiting} wait already, and this request has "
                f"{added}: send it again in a moment."
            )
        first = self._turn + 1
        self._rows += [Row(request, index, first + index) for index in range(added)]
        self._rows.sort(key=lambda row: (row.turn, len(row.request.texts), row.request.number))

    def _ensure_worker(self) -> None:
        """Start a worker if rows are waiting and none is alive; fail the requests whose batch a dead one had."""
        if self._worker is not None and self._worker.is_alive():
            return
        self._discard_worker()
        if self._rows:
            self._worker = threading.Thread(target=self._run_worker, name="yoyak-batches", daemon=True)
            self._worker.start()

    def _discard_worker(self) -> None:
        """Forget a dead worker, and fail the requests whose batch it had."""
        for row in self._batch:
            row.request.fail(WorkerDiedError("The worker that summarized this request died: send it again."))
        self._batch, self._worker = [], None

    def _run_worker(self) -> None:
        try:
            while batch := self._next_batch():
                self._answer(batch)
        except BaseException:
            self._give_up()

    def _give_up(self) -> None:
        """End the worker after an error that is not one of a batch."""
        _log.critical("the worker died, the next request starts another", exc_info=True)
        with self._condition:
            self._discard_worker()

    def _next_batch(self) -> list[Row]:
        """Return the next batch once it is full or its first row has waited enough; an empty one ends the worker."""
        with self._condition:
            self._batch = []
            while True:
                self._drop_expired()
                if not self._rows:
                    if not self._condition.wait(IDLE) and not self._rows:
                        self._worker = None
                        return []
                    continue
                batch, is_full = self._select_batch()
                remaining = batch[0].request.received_at + self.max_wait - time.monotonic()
                if is_full or remaining <= 0:
                    taken = set(batch)
                    self._rows = [row for row in self._rows if row not in taken]
                    self._turn = max(row.turn for row in batch)
                    self._batch = batch
                    return batch
                self._condition.wait(remaining)

    def _select_batch(self) -> tuple[list[Row], bool]:
        """Return the row whose turn it is, with others of the same settings and the most similar length, and whether
        the batch has room for no other. A text that takes more rows than a batch has is in one of its own.
        """
        first = self._rows[0]
        same = [row for row in self._rows if row.request.settings == first.request.settings]
        length, size = len(first.text), self._size(first.request.settings)
        others = sorted(same[1 : LOOKAHEAD * size], key=lambda row: abs(len(row.text) - length))
        batch, room = [first], size - first.cost
        for row in others:
            if row.cost <= room:
                batch.append(row)
                room -= row.cost
        return batch, room <= 0 or len(batch) <= len(others)

    def _size(self, settings: Generation) -> int:
        if self.rows_at_once is None:
            return self.batch_size
        return max(1, min(self.batch_size, self.rows_at_once(settings)))

    def _drop_expired(self) -> None:
        if self.timeout is None:
            return
        for row in self._rows:
            if row.request.is_over:
                row.request.fail(self._timed_out())
        self._rows = [row for row in self._rows if not row.request.future.done()]

    def _others_wait(self, rows: Sequence[Row]) -> bool:
        """Return whether requests wait that have no row in a batch."""
        served = {row.request for row in rows}
        return any(row.request not in served for row in self._rows)

    def _timed_out(self) -> QueueTimeoutError:
        within = "in time" if self.timeout is None else f"within {self.timeout:g} s"
        return QueueTimeoutError(f"This request was not answered {within}: send it again later.")

    def _answer(self, batch: list[Row]) -> None:
        """Answer each row; if that fails, halve the batch until the row at fault is alone."""
        rows = [row for row in batch if not row.request.is_over]
        if not rows:
            return
        patience = self.patience(rows[0].request.settings) if self.patience else float("inf")
        ends_at = time.monotonic() + patience

        def is_over() -> bool:
            if time.monotonic() > ends_at and self._others_wait(rows):
                return True
            return all(row.request.is_over for row in rows)

        try:
            with ends_when(is_over):
                answers = self.work([row.text for row in rows], rows[0].request.settings)
            if len(answers) != len(rows):
                raise RuntimeError(f"{len(rows)} dialogues have {len(answers)} answers")
        except AbandonedError:
            for row in rows:
                row.request.fail(self._timed_out() if row.request.is_over else took_too_long(patience))
            return
        except Exception as error:
            if len(rows) == 1:
                self._fail(rows[0], error)
                return
            middle = len(rows) // 2
            self._answer(rows[:middle])
            self._answer(rows[middle:])
            return
        for row, answer in zip(rows, answers, strict=True):
            row.request.answer(row.index, answer)

    def _fail(self, row: Row, error: Exception) -> None:
        which = f"Dialogue {row.index + 1} of {len(row.request.texts)}"
        kind: type[UserError] = DialogueFailedError
        if isinstance(error, UnavailableError):
            # Its sentence is for whoever runs the server: it names addresses, variables and what was spent.
            kind, reason = UnavailableError, "its endpoint fails; the server's log says more."
        elif isinstance(error, UserError):
            reason = str(error)
        else:
            reason = f"the model fails with {type(error).__name__}; the server's log says more."
        if reason != str(error):
            _log.error("%s cannot be summarized", which, exc_info=error, extra={"request_id": row.request.label})
        failed = kind(f"{which} cannot be summarized: {reason}")
        failed.__cause__ = error
        row.request.fail(failed)


def took_too_long(seconds: float) -> QueueTimeoutError:
    """Return the error of a request that kept others waiting for so many seconds."""
    return QueueTimeoutError(
        f"This request was ended after {seconds:g} s of work, since others were waiting: lower num_beams or "
        "max_new_tokens."
    )


def _reset_after_fork(batcher: Batcher | None) -> None:
    if batcher is not None:
        batcher._reset()


def _create(kind: type[Batcher], work: Work, options: dict[str, Any]) -> Batcher:
    return kind(work, **options)
