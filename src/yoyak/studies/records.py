"""What is kept with each trial beside its values, and what becomes of trials whose process has died."""

from __future__ import annotations

import copy
import re
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import optuna
import psutil
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RetryHeartbeatStaleTrialCallback
from optuna.trial import FrozenTrial, TrialState

from yoyak.errors import first_line

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

WORKER, REASON, FAILURE, RUN, PRUNED, KILLS, MEASURES, NOTES = (
    "worker", "reason", "failure", "run_id", "pruned", "kills", "measures", "notes",
)  # fmt: skip
"""Names of a trial's attributes: its process; why it ended, in words and as a kind; its MLflow run; and so on."""
IDENTITY, PARENT = "identity", "mlflow_run"
"""Attributes of a study: what its trials have in common, and the id of its run in MLflow."""
KILLED, INTERRUPTED, SURPLUS, OUT_OF_MEMORY = "killed", "interrupted", "surplus", "out of memory"
"""Kinds of failures."""
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)
"""States of a trial that counts."""


def worker_name() -> str:
    """Return ``host:pid:start`` of this process; the start tells it from a later one with the same number."""
    current = psutil.Process()
    return f"{socket.gethostname()}:{current.pid}:{current.create_time():.0f}"


def is_alive(worker: str) -> bool | None:
    """Return whether a process runs; None if it is on another machine."""
    host, pid, started = worker.rsplit(":", 2)
    if host != socket.gethostname():
        return None
    try:
        found = psutil.Process(int(pid))
        return abs(found.create_time() - float(started)) < 2 and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def original_number(trial: FrozenTrial) -> int:
    """Return the number of the first attempt at a trial, whose folder all attempts share."""
    number: int = trial.system_attrs.get("failed_trial", trial.number)
    return number


def is_pruned(trial: FrozenTrial) -> bool:
    """Return whether a trial was pruned: Wilcoxon's pruner asks for its mean, with which it is complete to Optuna."""
    return trial.state is TrialState.PRUNED or bool(trial.user_attrs.get(PRUNED))


def complete(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """Return the trials that ran to their end."""
    return [trial for trial in trials if trial.state is TrialState.COMPLETE and not is_pruned(trial)]


def state_name(trial: FrozenTrial) -> str:
    """Return the state of a trial in a word."""
    return "PRUNED" if is_pruned(trial) else trial.state.name


def retried(trials: Iterable[FrozenTrial]) -> set[int]:
    """Return the numbers of the trials that were queued again."""
    return {trial.system_attrs["retry_history"][-1] for trial in trials if trial.system_attrs.get("retry_history")}


def fail(storage: BaseStorage, trial: FrozenTrial, reason: str, failure: str) -> bool:
    """End a running trial as failed; return False if another process has ended it."""
    try:
        storage.set_trial_user_attr(trial._trial_id, REASON, reason)
        storage.set_trial_user_attr(trial._trial_id, FAILURE, failure)
        return storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return False


def requeue(study: optuna.Study, trial: FrozenTrial, *, retries: int | None) -> bool:
    """Queue a failed trial once more with the same values, unless its process has died more than ``retries`` times.

    ``retries`` is None for a trial that was interrupted. The attributes are those of Optuna's own retries.
    """
    kills = trial.user_attrs.get(KILLS, 0) + (retries is not None)
    if retries is not None and kills > retries:
        return False
    trial.user_attrs = {KILLS: kills, NOTES: trial.user_attrs.get(NOTES, {})}
    RetryHeartbeatStaleTrialCallback()(study, trial)
    return True


def on_stale(retries: int) -> Callable[[optuna.Study, FrozenTrial], None]:
    """Return what a database's heartbeat calls with a trial that it has failed."""

    def call(study: optuna.Study, trial: FrozenTrial) -> None:
        requeue(study, trial, retries=retries)

    return call


def reclaim(
    study: optuna.Study, storage: BaseStorage, retries: int, lost: Callable[[FrozenTrial], str | None]
) -> list[tuple[FrozenTrial, bool]]:
    """Fail the running trials for which ``lost`` returns a reason; return each and whether it was queued again."""
    reclaimed = []
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        reason = lost(trial)
        if reason is not None and fail(storage, trial, reason, KILLED):
            trial.user_attrs |= {REASON: reason, FAILURE: KILLED}
            reclaimed.append((trial, requeue(study, copy.deepcopy(trial), retries=retries)))
    return reclaimed


def classify(error: BaseException) -> str:
    """Return what kind of failure an error is: errors that differ only in their numbers are of one kind."""
    torch_module = sys.modules.get("yoyak.decoding.torch")
    if isinstance(error, MemoryError) or (torch_module is not None and torch_module.ran_out_of_memory(error)):
        return OUT_OF_MEMORY
    return re.sub(r"[\d.]+(e[-+]?\d+)?", "N", f"{type(error).__name__}: {first_line(error)}")


def best_trials(study: optuna.Study, trials: Iterable[FrozenTrial], count: int) -> list[FrozenTrial]:
    """Return the best complete trials, best first; with several objectives those of the Pareto front."""
    ended = complete(trials)
    if len(study.directions) > 1:
        front = {trial.number for trial in study.best_trials}
        return [trial for trial in ended if trial.number in front][:count]
    sign = -1 if study.direction is optuna.study.StudyDirection.MAXIMIZE else 1
    return sorted(ended, key=lambda trial: (sign * (trial.value or 0.0), trial.number))[:count]


def describe_change(stored: Mapping[str, Any], current: Mapping[str, Any]) -> str:
    """Return the names of what differs between two mappings, the first few of them."""
    names = [name for name in dict.fromkeys((*current, *stored)) if stored.get(name) != current.get(name)]
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
