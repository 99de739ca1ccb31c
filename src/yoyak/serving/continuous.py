"""Batching without batches: dialogues that are finished leave, and waiting ones join, between any two steps.

    batcher = ContinuousBatcher(work, open_run=summarizer.open_run, batch_size=32, capacity=256)
    batcher.ask(["#Person1#: …"], settings)

Queue, turns and failures are those of `Batcher`. Dialogues with other settings are in a run of their own, and runs take
turns, a step each. What fails in a run is answered by ``work`` instead, which finds the dialogue at fault.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from yoyak.serving.batching import IDLE, Batcher, Row, Work, took_too_long
from yoyak.serving.queued import Answer

if TYPE_CHECKING:
    from yoyak.decoding.summarizer import OpenRun, Run
    from yoyak.params import Generation

ENCODED_TOKENS = 512
"""Tokens of dialogues that join before a step: those that are being written wait meanwhile."""

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Shift:
    """The dialogues of one run."""

    settings: Generation
    run: Run
    entering: dict[Any, Row] = field(default_factory=dict)
    """Dialogues that are to be encoded, by what the run calls them."""
    active: dict[Any, Row] = field(default_factory=dict)
    """Dialogues that are being written."""
    seconds: float = 0.0
    """How long it has worked, without the turns of other runs."""

    @property
    def rows(self) -> list[Row]:
        return [*self.entering.values(), *self.active.values()]


class ContinuousBatcher(Batcher):
    """A bounded queue of dialogues and the thread that answers them, each as soon as it is finished."""

    def __init__(
        self,
        work: Work,
        *,
        open_run: OpenRun,
        observe: Callable[[int, float, Sequence[Answer]], object] | None = None,
        rest: Callable[[], object] | None = None,
        **options: Any,
    ) -> None:
        """Take the arguments of `Batcher`; its ``max_wait`` does not apply, since dialogues may always join.

        Args:
            open_run: Returns a run for some settings and a number of dialogues.
            observe: Is told how many dialogues a step wrote tokens of, how many seconds it took, and what is finished.
            rest: Is called when nothing is left to do.
        """
        self.open_run, self.observe, self.rest = open_run, observe, rest
        super().__init__(work, **options)

    def __reduce__(self) -> tuple[Any, ...]:
        create, (kind, work, options) = super().__reduce__()
        own = {"open_run": self.open_run, "observe": self.observe, "rest": self.rest}
        return create, (kind, work, {**options, **own})

    def _run_worker(self) -> None:
        shifts: list[_Shift] = []
        try:
            while self._wait_for_rows(shifts):
                self._admit(shifts)
                for shift in shifts:
                    self._drop_abandoned(shift)
                    started = time.monotonic()
                    self._encode(shift)
                    self._write(shift)
                    shift.seconds += time.monotonic() - started
                shifts[:] = [shift for shift in shifts if shift.entering or shift.active]
        except BaseException:
            self._give_up()

    def _wait_for_rows(self, shifts: list[_Shift]) -> bool:
        """Return whether there is work to do, once there is; False ends the worker."""
        if self.rest and not shifts and not self._rows:
            self.rest()
        with self._condition:
            self._batch = [row for shift in shifts for row in shift.rows]
            self._drop_expired()
            while not shifts and not self._rows:
                if not self._condition.wait(IDLE) and not self._rows:
                    self._worker = None
                    return False
                self._drop_expired()
        return True

    def _admit(self, shifts: list[_Shift]) -> None:
        """Take the rows from the queue whose turn it is, as long as there is room for them."""
        taken: list[Row] = []
        with self._condition:
            used = sum(self._share(shift.settings) * len(shift.rows) for shift in shifts)
            while self._rows:
                share = self._share(self._rows[0].request.settings)
                # One that takes all of the room waits until it is alone.
                if (shifts or taken) and used + share > 1 + 1e-9:
                    break
                used += share
                row = self._rows.pop(0)
                self._turn = row.turn
                taken.append(row)
            self._batch = [*self._batch, *taken]
        for row in taken:
            try:
                shift = self._find_shift(shifts, row.request.settings)
                row.started_at = shift.seconds
                shift.entering[shift.run.read(row.text)] = row
            except Exception as error:
                self._fail(row, error)

    def _find_shift(self, shifts: list[_Shift], settings: Generation) -> _Shift:
        for shift in shifts:
            if shift.settings == settings:
                return shift
        shift = _Shift(settings, self.open_run(settings, self._size(settings)))
        shifts.append(shift)
        return shift

    def _share(self, settings: Generation) -> float:
        """Return the part of the room that a dialogue with these settings takes."""
        return 1 / self._size(settings)

    def _drop_abandoned(self, shift: _Shift) -> None:
        """Let dialogues leave that nobody waits for, or that have kept others waiting for too long.

        Only the time counts in which their own run has worked: others that take turns are not theirs to blame.
        """
        patience = self.patience(shift.settings) if self.patience else float("inf")
        overdue = shift.seconds - patience
        rows = shift.rows
        if any(row.started_at < overdue for row in rows) and self._others_wait(rows):
            for row in rows:
                if row.started_at < overdue and not row.request.is_over:
                    row.request.fail(took_too_long(patience))
        leaving = [reading for reading, row in shift.active.items() if row.request.is_over]
        if leaving:
            shift.run.drop(leaving)
        for row in rows:
            if row.request.is_over:
                row.request.fail(self._timed_out())
        shift.active = {reading: row for reading, row in shift.active.items() if not row.request.is_over}
        shift.entering = {reading: row for reading, row in shift.entering.items() if not row.request.is_over}

    def _encode(self, shift: _Shift) -> None:
        """Let the next dialogues join, no more than are encoded quickly."""
        chosen: list[Any] = []
        for reading in shift.entering:
            width = max(len(one.ids) for one in [*chosen, reading])
            if chosen and width * (len(chosen) + 1) > ENCODED_TOKENS:
                break
            chosen.append(reading)
        if not chosen:
            return
        rows = [shift.entering.pop(reading) for reading in chosen]
        try:
            shift.run.add(chosen)
        except Exception:
            _log.warning("dialogues could not join: they are summarized in a batch of their own", exc_info=True)
            self._answer(rows)
            return
        shift.active.update(zip(chosen, rows, strict=True))

    def _write(self, shift: _Shift) -> None:
        """Let the run write one token of each text, and answer what is finished."""
        if not shift.active:
            return
        count, started = len(shift.active), time.perf_counter()
        try:
            finished = shift.run.step()
        except Exception:
            _log.warning("a step failed: its dialogues are summarized again in batches", exc_info=True)
            rows = list(shift.active.values())
            shift.run, shift.active = self.open_run(shift.settings, self._size(shift.settings)), {}
            self._answer(rows)
            return
        answers = [Answer(result.summary, result.cut, result.read) for _, result in finished]
        if self.observe:
            self.observe(count, time.perf_counter() - started, answers)
        for (reading, _), answer in zip(finished, answers, strict=True):
            row = shift.active.pop(reading)
            row.request.answer(row.index, answer)
