"""A worker of a study: a process that imports once and runs trials one after the other, as its supervisor tells it.

python -m yoyak.studies.worker

Commands come as lines of JSON on stdin, events leave as lines of JSON on stdout. When stdin ends, the supervisor is
gone: the trial ends at its next step, and the process with it.
"""

from __future__ import annotations

import gc
import json
import math
import os
import queue
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import optuna
from optuna.exceptions import TrialPruned, UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from yoyak import process
from yoyak.errors import UserError, first_line
from yoyak.params.study_files import parse_study
from yoyak.studies import files, mirror, records
from yoyak.studies.kinds import Kind, RunningTrial, StoppedError, open_kind
from yoyak.studies.samplers import make_pruner, make_sampler, worker_seed
from yoyak.studies.storage import open_storage
from yoyak.tracking.client import connect, import_for_reading
from yoyak.tracking.stage_run import StageRun

ORPHAN_SECONDS = 20.0
"""How long a worker without a supervisor may take to end its trial's step."""


class Commands:
    """The supervisor's commands, read by a thread, so that one to stop is noticed during a trial."""

    def __init__(self, source: TextIO) -> None:
        self.stop = threading.Event()
        self._source = source
        self._waiting: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def next(self) -> dict[str, Any]:
        """Wait for the next command."""
        return self._waiting.get()

    def _read(self) -> None:
        for line in self._source:
            command = json.loads(line)
            if command["do"] == "stop":
                self.stop.set()
            else:
                self._waiting.put(command)
        self.stop.set()
        self._waiting.put({"do": "end"})
        timer = threading.Timer(ORPHAN_SECONDS, os._exit, [1])
        timer.daemon = True
        timer.start()


class Worker:
    """Runs trials of one study."""

    def __init__(self, settings: Mapping[str, Any], commands: Commands, events: int) -> None:
        self.commands, self._events = commands, events
        self.folder = Path(settings["folder"])
        definition = parse_study(settings["study"], f"{self.folder}.yaml")
        self.kind: Kind = open_kind(definition, settings["tree"], self.folder)
        self.objectives = list(definition.objectives)
        self.retries = definition.retries
        self.target: int | None = settings["target"]
        self.name = records.worker_name()
        self.mirror = mirror.Mirror(**settings["mirror"])
        storage = open_storage(settings["storage"], Path(settings["journal"]), records.on_stale(self.retries))
        host = socket.gethostname() if settings["storage"] else ""
        seed = worker_seed(definition.sampler, definition.seed, settings["worker"], settings["finished"], host)
        self.study = optuna.load_study(
            study_name=settings["name"],
            storage=storage,
            sampler=make_sampler(definition.sampler, seed=seed, objectives=len(self.objectives)),
            pruner=make_pruner(definition.pruner),
        )
        self.run: StageRun | None = None
        self.number = -1

    def send(self, event: str, **values: Any) -> None:
        """Tell the supervisor something. If it is gone, the trial ends at its next step; it must not fail for that."""
        line = json.dumps({"event": event, **values}) + "\n"
        try:
            os.write(self._events, line.encode())
        except BrokenPipeError:
            self.commands.stop.set()

    def run_trial(self) -> None:
        """Ask Optuna for a trial, run it, and tell how it ended."""
        started, self.number, self.run = time.perf_counter(), -1, None
        try:
            self.study.optimize(self._run, n_trials=1, catch=(Exception,))
        except UpdateFinishedTrialError:
            # A machine that was away for too long: another one has taken the trial over.
            self.send("ended", number=self.number, state="LOST", seconds=time.perf_counter() - started)
            return
        finally:
            # Not in the trial, whose error still holds what had been computed.
            _free_memory()
        trial = self.study.get_trials(deepcopy=False)[self.number]
        failure = trial.user_attrs.get(records.FAILURE)
        if failure == records.INTERRUPTED:
            records.requeue(self.study, self.study.get_trials()[self.number], retries=None)
        elif not (trial.state is TrialState.COMPLETE and not records.is_pruned(trial)):
            shutil.rmtree(self._folder(trial), ignore_errors=True)
        if self.run is not None:
            mirror.close(self.run, trial)
        self.send(
            "ended",
            number=trial.number,
            state=records.state_name(trial),
            values=trial.values,
            reason=trial.user_attrs.get(records.REASON, ""),
            failure=failure,
            seconds=time.perf_counter() - started,
        )

    def score(self, number: int) -> None:
        """Tell the scores of a finished trial on the dialogues of dev and gate."""
        trial = self.study.get_trials(deepcopy=False)[number]
        try:
            scores = {
                split: list(map(float, values)) for split, values in
                self.kind.score(self._folder(trial), trial.params).items()
            }  # fmt: skip
        except Exception as error:
            self.send("scored", number=number, scores={}, problem=first_line(error))
            return
        self.send("scored", number=number, scores=scores, problem="")

    def _run(self, trial: optuna.Trial) -> list[float]:
        frozen = self.study.get_trials(deepcopy=False)[trial.number]
        self.number = trial.number
        trial.set_user_attr(records.WORKER, self.name)
        if self._is_surplus(trial.number):
            trial.set_user_attr(records.REASON, "Another machine began the last trial that was asked for.")
            trial.set_user_attr(records.FAILURE, records.SURPLUS)
            raise StoppedError("surplus")
        values = self.kind.suggest(trial)
        self.send("started", number=trial.number, values=values, retry_of=frozen.system_attrs.get("failed_trial"))
        try:
            self.run = self.mirror.open(trial.number, values, process_name=process.process_name())
            trial.set_user_attr(records.RUN, self.run.run_id)
        except UserError as error:
            print(f"trial {trial.number} has no run in MLflow yet: {error}", file=sys.stderr)
        notes = dict(frozen.user_attrs.get(records.NOTES, {}))

        def report(step: int, value: float) -> None:
            self.send("step", number=trial.number, step=step, value=value)
            if len(self.objectives) == 1:
                trial.report(value, step)
                if trial.should_prune():
                    raise TrialPruned(f"worse than others at step {step}")

        def log(step: int, metrics: Mapping[str, float]) -> None:
            if self.run is not None:
                self.run.log_metrics(metrics, step)

        def note(name: str, value: Any) -> None:
            if name == records.PRUNED:
                trial.set_user_attr(records.PRUNED, value)
                return
            notes[name] = value
            trial.set_user_attr(records.NOTES, notes)

        running = RunningTrial(
            number=trial.number,
            folder=self._folder(frozen),
            report=report,
            log=log,
            should_stop=self.commands.stop.is_set,
            note=note,
        )
        running.folder.mkdir(parents=True, exist_ok=True)
        try:
            measures = {name: float(value) for name, value in self.kind.run(running, values).items()}
            for objective in self.objectives:
                if not math.isfinite(measures[objective]):
                    raise ArithmeticError(f"{objective} is {measures[objective]}")
            trial.set_user_attr(records.MEASURES, {k: v for k, v in measures.items() if math.isfinite(v)})
            return [measures[objective] for objective in self.objectives]
        except TrialPruned:
            raise
        except Exception as error:
            interrupted = isinstance(error, StoppedError)
            reason = "The study was interrupted." if interrupted else first_line(error)
            trial.set_user_attr(records.REASON, reason)
            trial.set_user_attr(records.FAILURE, records.INTERRUPTED if interrupted else records.classify(error))
            if not interrupted:
                traceback.print_exc()
            raise StoppedError(reason) from None

    def _is_surplus(self, number: int) -> bool:
        """Return whether other trials will complete the study: two machines may begin the last one at once."""
        if self.target is None:
            return False
        trials = self.study.get_trials(deepcopy=False, states=(*records.ENDED, TrialState.RUNNING))
        return sum(trial.state is not TrialState.RUNNING or trial.number < number for trial in trials) >= self.target

    def _folder(self, trial: FrozenTrial) -> Path:
        return files.trial_folder(self.folder, trial)


def _free_memory() -> None:
    """Give back what a trial took, before the next one needs it."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def main() -> int:
    """Do what the supervisor says until it says ``end``."""
    # Ctrl-C is for the supervisor, which tells its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What libraries print must not get between the events.
    events = os.dup(1)
    os.dup2(2, 1)
    settings = json.loads(sys.stdin.readline())
    commands = Commands(sys.stdin)
    worker = Worker(settings, commands, events)
    try:
        worker.kind.open()
    except UserError as error:
        worker.send("refused", reason=str(error))
        return 1
    with suppress(UserError):  # Trials then need not import MLflow.
        import_for_reading()
        connect()
    # What has been imported stays: looking for garbage in it after every trial would take longer than all the rest.
    gc.collect()
    gc.freeze()
    worker.send("ready", process=worker.name)
    while True:
        command = commands.next()
        match command["do"]:
            case "trial":
                worker.run_trial()
            case "score":
                worker.score(command["number"])
            case _:
                return 0


if __name__ == "__main__":
    sys.exit(main())
