"""Running a study: a supervisor that starts workers, hands out trials, and notices who has died.

The supervisor alone decides when a trial is begun, so that exactly as many end as were asked for; several machines
that share a database each have one.
"""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from types import FrameType
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from yoyak.studies import files, records, scoring
from yoyak.studies.kinds import Kind
from yoyak.studies.processes import Events, WorkerProcess, share_of_machine
from yoyak.studies.progress import Progress
from yoyak.studies.storage import GRACE_SECONDS

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

POLL_SECONDS = 0.25
STALE_SECONDS = 30.0
"""How often trials of other machines are looked at."""
ORPHANS_SECONDS = 30.0
"""How long workers of a supervisor that was killed may take to end."""
END_SECONDS = 15.0
SAME_FAILURES = 3
"""So many failures of the same kind in a row end the study."""


def _was_never_begun(trial: FrozenTrial) -> str | None:
    """Return a reason for a trial of a database that nobody has put a name to: the answer to who asked was lost."""
    started = trial.datetime_start
    if trial.user_attrs.get(records.WORKER) is not None or started is None:
        return None
    silent = (datetime.now() - started).total_seconds()
    return "No process has begun it." if silent > GRACE_SECONDS else None


def _key(values: Any) -> str:
    return json.dumps(values, sort_keys=True)


@dataclass(kw_only=True)
class Supervisor:
    """One `yoyak study run` of one study."""

    kind: Kind
    name: str
    study: optuna.Study
    storage: BaseStorage
    settings: Mapping[str, Any]
    """What every worker is told, see `worker.Worker`."""
    workers: int
    target: int | None
    """Trials that are to end in all; None for all that are queued, or until time is over."""
    minutes: float | None
    shared: bool
    """Whether other machines may run trials too."""
    scores: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    """By trial, then split: what the best trials score on each dialogue."""
    problem: str = ""
    """Why the study ended early, as a sentence."""
    interrupts: int = 0
    _pool: list[WorkerProcess] = field(default_factory=list)
    _events: Events = field(default_factory=queue.SimpleQueue)
    _failures: list[str] = field(default_factory=list)
    _failed: int = 0

    def run(self) -> None:
        """Run trials until enough have ended, then score the best ones; sets ``problem`` if that was not possible."""
        self._wait_for_orphans()
        if self._is_done():
            self._restart_to_score()
            return
        started = time.monotonic()
        self.workers = self._useful_workers()
        progress = Progress(name=self.name, target=self.target, workers=self.workers)
        with self._signals(), progress:
            try:
                self._pool = [self._start(index) for index in range(self.workers)]
                self._loop(progress, started)
                if not self.interrupts:
                    self._score_best(progress)
            finally:
                self._end_workers()

    def _loop(self, progress: Progress, started: float) -> None:
        stale_at = time.monotonic()
        while True:
            self._handle_events(progress)
            if self.interrupts > 1:
                return
            if self.interrupts or self.problem:
                for worker in self._pool:
                    worker.send({"do": "stop"})
                if not any(worker.busy for worker in self._pool):
                    return
                continue
            if self.shared and time.monotonic() > stale_at:
                stale_at = time.monotonic() + STALE_SECONDS
                optuna.storages.fail_stale_trials(self.study)
                records.reclaim(self.study, self.storage, self.kind.study.retries, _was_never_begun)
            trials = self.study.get_trials(deepcopy=False)
            progress.show(self.study, trials, self._pool)
            over = self.minutes is not None and time.monotonic() - started > 60 * self.minutes
            if not any(worker.busy for worker in self._pool) and (over or self._is_done()):
                return
            needed = 0 if over else self._count_needed(trials)
            for worker in self._pool:
                if needed > 0 and worker.ready and not worker.busy:
                    worker.busy, worker.step = True, None
                    worker.send({"do": "trial"})
                    needed -= 1

    def _count_needed(self, trials: list[FrozenTrial]) -> int:
        """Return how many more trials are to be begun now."""
        asked = sum(worker.busy and worker.trial is None for worker in self._pool)
        if self.target is None:
            return self.workers
        running = sum(trial.state is TrialState.RUNNING for trial in trials)
        needed = self.target - self._count_ended(trials) - running
        if self._queued is not None:
            needed = min(needed, sum(trial.state is TrialState.WAITING for trial in trials))
        return needed - asked

    def _count_ended(self, trials: list[FrozenTrial]) -> int:
        """Return how many trials have ended that count; in a queue also those that failed, as they are not replaced."""
        if self._queued is None:
            return sum(trial.state in records.ENDED for trial in trials)
        retried = records.retried(trials)
        return sum(
            trial.state.is_finished()
            and trial.number not in retried
            and trial.user_attrs.get(records.FAILURE) not in (records.INTERRUPTED, records.SURPLUS)
            and _key(trial.system_attrs.get("fixed_params")) in self._queued
            for trial in trials
        )

    @cached_property
    def _queued(self) -> set[str] | None:
        """The values of every trial, as text; None if a sampler chooses them."""
        queue = self.kind.queue()
        return None if queue is None else {_key(values) for values in queue}

    def _is_done(self) -> bool:
        trials = self.study.get_trials(deepcopy=False)
        if self._queued is not None and not any(
            trial.state in (TrialState.WAITING, TrialState.RUNNING) for trial in trials
        ):
            return True
        return self.target is not None and self._count_ended(trials) >= self.target

    def _useful_workers(self) -> int:
        needed = self._count_needed(self.study.get_trials(deepcopy=False))
        return max(1, min(self.workers, needed))

    def _start(self, index: int) -> WorkerProcess:
        log = self.kind.folder / "logs" / f"worker-{index}.log"
        finished = len(self.study.get_trials(deepcopy=False))
        settings = {**self.settings, "finished": finished, "target": self.target if self.shared else None}
        worker = WorkerProcess(index, settings, share_of_machine(index, self.workers), log)
        worker.follow(self._events)
        return worker

    def _handle_events(self, progress: Progress) -> None:
        timeout = POLL_SECONDS
        while True:
            try:
                worker, event = self._events.get(timeout=timeout)
            except queue.Empty:
                return
            timeout = 0.0
            self._handle(worker, event, progress)

    def _handle(self, worker: WorkerProcess, event: Mapping[str, Any], progress: Progress) -> None:
        match event["event"]:
            case "ready":
                worker.ready, worker.name = True, event["process"]
            case "refused":
                self.problem = event["reason"]
            case "started":
                worker.trial, worker.began = event["number"], time.monotonic()
            case "step":
                worker.step = (event["step"], event["value"])
            case "ended":
                worker.busy, worker.trial = False, None
                self._count_end(event.get("failure"), event.get("reason", ""))
                self._remove_weights()
                progress.ended(event)
            case "scored":
                worker.busy = False
                self.scores[event["number"]] = event["scores"]
                if event["problem"]:
                    progress.say(f"warning: trial {event['number']} could not be scored: {event['problem']}")
            case "exit":
                self._handle_exit(worker, progress)

    def _handle_exit(self, worker: WorkerProcess, progress: Progress) -> None:
        """Fail the trial of a worker that died, queue it again, and start another worker."""
        if worker not in self._pool:
            return
        self._pool.remove(worker)
        code = worker.process.returncode
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        reason = f"The worker's process ended ({how})."
        if not worker.ready:
            self.problem = self.problem or (
                f"worker {worker.index} could not start: {worker.last_words()} ({worker.log})."
            )
            return
        for trial, requeued in records.reclaim(
            self.study,
            self.storage,
            self.kind.study.retries,
            lambda trial: reason if self._runs(worker, trial) else None,
        ):
            if not requeued:
                self._count_end(records.KILLED, reason)
            seconds = time.monotonic() - worker.began
            progress.ended({"number": trial.number, "state": "FAIL", "reason": reason, "seconds": seconds})
        if not self.interrupts and not self.problem:
            self._pool.append(self._start(worker.index))

    def _runs(self, worker: WorkerProcess, trial: FrozenTrial) -> bool:
        """Return whether a running trial is a worker's: its own, or one that nobody has put a name to yet."""
        owner = trial.user_attrs.get(records.WORKER)
        if owner is not None:
            return bool(owner == worker.name)
        return not self.shared and worker.busy and worker.trial is None

    def _count_end(self, failure: str | None, reason: str) -> None:
        if failure in (records.INTERRUPTED, records.SURPLUS):
            return
        if failure is None:
            self._failures.clear()
            return
        self._failures.append(failure)
        self._failed += 1
        last = self._failures[-SAME_FAILURES:]
        if len(last) == SAME_FAILURES and len(set(last)) == 1:
            self.problem = f"{SAME_FAILURES} trials in a row failed alike: {reason.rstrip('.')}."
        elif self.target is not None and self._failed > self.target + SAME_FAILURES:
            self.problem = f"more trials failed than were asked for, the last one because: {reason.rstrip('.')}."

    def _remove_weights(self) -> None:
        trials = self.study.get_trials(deepcopy=False)
        kept = records.best_trials(self.study, trials, self.kind.study.keep)
        files.remove_weights(self.kind.folder, trials, kept)

    def _score_best(self, progress: Progress) -> None:
        """Have a worker score the best trial on every dialogue of dev and gate."""
        best = records.best_trials(self.study, self.study.get_trials(deepcopy=False), 1)
        # Another one may still start in the place of one that died.
        while (
            self._pool and not any(worker.ready for worker in self._pool) and not self.problem and not self.interrupts
        ):
            self._handle_events(progress)
        worker = next((worker for worker in self._pool if worker.ready), None)
        if not best or worker is None:
            return
        worker.busy = True
        worker.send({"do": "score", "number": best[0].number})
        while worker.busy and worker in self._pool and not self.interrupts:
            self._handle_events(progress)
        if worker not in self._pool:
            progress.say(
                f"warning: trial {best[0].number} has no scores on dev and gate, as its worker ended meanwhile: "
                f"`yoyak study run {self.name}` scores it."
            )

    def _restart_to_score(self) -> None:
        """Score the best trial of a study that was already complete, unless that has been done."""
        best = records.best_trials(self.study, self.study.get_trials(deepcopy=False), 1)
        if not best or type(self.kind).score is Kind.score:
            return
        if files.read_scores(self.kind.folder, scoring.describe_basis(self.kind, self.study, best[0])):
            return
        progress = Progress(name=self.name, target=self.target, workers=1)
        with self._signals(), progress:
            try:
                self._pool = [self._start(0)]
                self._score_best(progress)
            finally:
                self._end_workers()

    def _wait_for_orphans(self) -> None:
        """Fail the trials of a supervisor that was killed, once its workers have ended, and queue them again."""
        deadline = time.monotonic() + ORPHANS_SECONDS

        def lost(trial: FrozenTrial) -> str | None:
            owner = trial.user_attrs.get(records.WORKER)
            if owner is None:
                return None if self.shared else "Its process was killed before it began."
            alive = records.is_alive(owner)
            # A journal has one supervisor, so that an unknown host is this one under an earlier name.
            if alive is False or (not self.shared and (alive is None or time.monotonic() > deadline)):
                return "Its process was killed."
            return None

        while True:
            records.reclaim(self.study, self.storage, self.kind.study.retries, lost)
            running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if self.shared or not running or time.monotonic() > deadline + 1:
                return
            time.sleep(POLL_SECONDS)

    def _end_workers(self) -> None:
        """Leave no process behind; trials of those that had to be killed are queued again."""
        pool, self._pool = self._pool, []
        if self.interrupts > 1:
            for worker in pool:
                worker.process.kill()
        for worker in pool:
            worker.end(END_SECONDS)
        names = {worker.name for worker in pool}
        for trial in self.study.get_trials(states=(TrialState.RUNNING,)):
            owner = trial.user_attrs.get(records.WORKER)
            if owner in names or (owner is None and not self.shared):
                reason = "The study was interrupted."
                if records.fail(self.storage, trial, reason, records.INTERRUPTED):
                    records.requeue(self.study, trial, retries=None)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Count Ctrl-C and SIGTERM while the block lasts: once ends trials at their next step, twice at once."""

        def interrupt(number: int, frame: FrameType | None) -> None:
            self.interrupts += 1

        previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            previous = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
