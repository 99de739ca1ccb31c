"""Where a study's trials are: a journal file for the processes of one machine, a database for several machines.

The journal is locked by the operating system, which frees the lock of a process that is killed; Optuna's own lock
file would stop every other process for half a minute. A database that is restarted is waited for.
"""

from __future__ import annotations

import copy
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from yoyak.errors import UserError, first_line

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

HEARTBEAT_SECONDS, GRACE_SECONDS = 10, 120
"""How often a running trial reports to a database, and after how long without a report it counts as lost."""
OUTAGE_SECONDS = 300.0
"""How long a database may be away."""
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.1, 5.0

StaleCallback = Callable[["optuna.Study", "FrozenTrial"], None]


def open_storage(url: str | None, journal: Path, on_stale: StaleCallback | None = None) -> BaseStorage:
    """Return the storage at a URL, or without one the journal file.

    Args:
        on_stale: Called with each trial of a database that has sent no heartbeat for `GRACE_SECONDS`, once it has
            failed.

    Raises UserError if the database cannot be reached, or its URL is of a kind that several processes must not use.
    """
    import warnings

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", ExperimentalWarning)
    if url is None:
        journal.parent.mkdir(parents=True, exist_ok=True)
        lock = KernelLock(str(journal))
        _repair(journal, lock)
        return JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
    if url.startswith("sqlite"):
        raise UserError(
            "--storage: Optuna advises against SQLite for several workers: leave --storage out for a file, or use a "
            "server such as postgresql+psycopg2://…"
        )
    if url.startswith(("postgresql://", "postgres://")):
        raise UserError(f"--storage: name the driver: postgresql+psycopg2://{url.partition('://')[2]}.")
    try:
        try:
            return _open_database(url, on_stale)
        except Exception:
            # Of several machines that open an empty database at once, all but one fail to create its tables.
            time.sleep(LONGEST_WAIT_SECONDS / 5)
            return _open_database(url, on_stale)
    except Exception as error:
        raise UserError(f"--storage: the database cannot be opened ({first_line(error)}).") from error


def _open_database(url: str, on_stale: StaleCallback | None) -> RDBStorage:
    # No ping before each of the dozen transactions of a trial: a connection that is gone is opened again when it fails.
    return PatientStorage(
        url,
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=on_stale,
    )


class KernelLock(JournalFileOpenLock):
    """A lock for the journal that ends with the process that holds it."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._file_lock = FileLock(f"{path}.flock")

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._file_lock.acquire()
        return True

    def release(self) -> None:
        """Give the lock back."""
        self._file_lock.release()


def _repair(journal: Path, lock: KernelLock) -> None:
    """Remove a last line that is not complete: its writer died, and Optuna refuses to read beyond it."""
    lock.acquire()
    try:
        if journal.is_file():
            written = journal.read_bytes()
            complete = written.rfind(b"\n") + 1
            if complete < len(written):
                with journal.open("r+b") as file:
                    file.truncate(complete)
    finally:
        lock.release()


class PatientStorage(RDBStorage):
    """A database that may be restarted: what fails is tried again until it is back.

    Optuna reads a trial in six statements as soon as it has created it; here it is not read back unless it was changed.
    """

    _created: FrozenTrial | None = None

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        trial = super()._create_new_trial(study_id, template_trial)
        self._created = trial if template_trial is None else None
        return trial

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """Return a trial."""
        created, self._created = self._created, None
        if created is not None and created._trial_id == trial_id:
            return copy.deepcopy(created)
        return super().get_trial(trial_id)


def _patiently(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(*arguments: Any, **options: Any) -> Any:
        deadline, wait, attempts = time.monotonic() + OUTAGE_SECONDS, FIRST_WAIT_SECONDS, 0
        if "set_trial" in method.__name__:
            arguments[0]._created = None
        while True:
            try:
                return method(*arguments, **options)
            except UpdateFinishedTrialError:
                # It may be finished because an earlier attempt succeeded whose answer was lost.
                if attempts and method.__name__ == "set_trial_state_values":
                    return True
                raise
            except Exception as error:
                if not _is_outage(error) or time.monotonic() > deadline:
                    raise
            attempts += 1
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)

    return call


def _is_outage(error: BaseException | None) -> bool:
    """Return whether an error, or one that led to it, is that of a connection."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

    if isinstance(error, OperationalError | InterfaceError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return error is not None and _is_outage(error.__cause__ or error.__context__)


# Optuna's cache in front of a database calls some methods that are not public.
_CALLED_BY_CACHE = (
    "_create_new_trial",
    "_set_trial_param",
    "_get_trials",
    "_get_best_trial_id",
    "_get_stale_trial_ids",
)
for _name in (*sorted(BaseStorage.__abstractmethods__), "record_heartbeat", *_CALLED_BY_CACHE):
    setattr(PatientStorage, _name, _patiently(getattr(PatientStorage, _name)))
