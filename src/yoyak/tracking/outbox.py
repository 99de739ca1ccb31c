"""Logging operations that the tracking store could not accept, stored on disk until they can be sent.

A stage keeps running when its tracking server becomes unreachable: each logging operation is appended to
``.yoyak/unsent/<run id>/operations.jsonl`` in the project's folder, beside copies of the logged files, and is sent in
the same order once the server responds again: by the stage itself, by the next one, or by `yoyak sync`.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yoyak import process
from yoyak.errors import UserError
from yoyak.files import write_json, write_text
from yoyak.project import UNSENT, project_root
from yoyak.tracking.client import is_reachable, store_lock, translate_mlflow_errors
from yoyak.tracking.operations import Operation, apply, with_copied_files
from yoyak.tracking.uri import redact_credentials, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

RETRY_SECONDS = 60.0
"""How often a running stage checks at most whether an unreachable store is back."""

RUN_FILE, OPERATIONS_FILE, FILES = "run.json", "operations.jsonl", "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnsentRun:
    """A run with unsent operations."""

    folder: Path
    run_id: str
    name: str
    """Its name in MLflow."""
    store: str
    """The tracking URI of its store, without credentials."""
    process: str
    """The process that wrote it, as ``host:pid``."""

    def operations(self) -> list[Operation]:
        """Return the unsent operations in order, without a line left incomplete by a killed process."""
        operations = []
        for line in (self.folder / OPERATIONS_FILE).read_text(encoding="utf-8").splitlines():
            try:
                operations.append(Operation(**json.loads(line)))
            except ValueError:
                continue
        return operations

    def send(self, client: MlflowClient) -> int:
        """Send everything and remove the folder; return the number of operations.

        Operations that the store refuses for good, such as another value of a param, are kept without holding up later
        ones; if the store fails in any other way, all that follow are kept too. Raises UserError if any is kept.
        """
        with store_lock():
            if not self.folder.is_dir():
                return 0
            operations = self.operations()
            kept: list[Operation] = []
            problem: UserError | None = None
            for index, operation in enumerate(operations):
                try:
                    with translate_mlflow_errors():
                        apply(client, operation)
                except UserError as error:
                    problem = problem or error
                    if not _is_refusal(error):
                        kept += operations[index:]
                        break
                    kept.append(operation)
            if problem is not None:
                write_text(self.folder / OPERATIONS_FILE, "".join(map(_to_line, kept)))
                raise problem
            shutil.rmtree(self.folder)
        return len(operations)


class Outbox:
    """Sends a stage's logging operations, or stores them if the store does not respond: logging never stops a stage."""

    def __init__(self, client: MlflowClient, run_id: str, name: str) -> None:
        self._client = client
        self._retry_at = 0.0
        self._unsent = UnsentRun(
            folder=project_root() / UNSENT / run_id,
            run_id=run_id,
            name=name,
            store=redact_credentials(tracking_uri()),
            process=process.process_name(),
        )

    @property
    def is_empty(self) -> bool:
        """Whether everything has been sent."""
        return not self._unsent.folder.is_dir()

    def write(self, operation: Operation) -> None:
        """Send an operation, or store it after those that are stored already."""
        if not self.is_empty and (time.monotonic() < self._retry_at or not self._send_stored()):
            self._store(operation)
            return
        try:
            with translate_mlflow_errors():
                apply(self._client, operation)
        except UserError as error:
            if self.is_empty:
                _warn(f"{error} The stage continues; until the store responds, logs are kept in {UNSENT}.")
            self._retry_at = time.monotonic() + RETRY_SECONDS
            self._store(operation)

    def close(self) -> None:
        """Try one last time to send what is stored; warn if that fails."""
        if not self.is_empty and not self._send_stored():
            _warn(
                f"Logs of {self._unsent.name} have not reached the tracking store at {self._unsent.store} yet: "
                f"once it responds again, run `yoyak sync`."
            )

    def _send_stored(self) -> bool:
        self._retry_at = time.monotonic() + RETRY_SECONDS
        if not is_reachable():
            return False
        try:
            self._unsent.send(self._client)
        except UserError:
            return False
        return True

    def _store(self, operation: Operation) -> None:
        folder = self._unsent.folder
        if not (folder / RUN_FILE).is_file():
            values = {key: value for key, value in asdict(self._unsent).items() if key != "folder"}
            write_json(folder / RUN_FILE, values)
        path = folder / OPERATIONS_FILE
        copies = folder / FILES / str(time.time_ns())
        line = _to_line(with_copied_files(operation, copies))
        with path.open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())


def unsent_runs(root: Path | None = None) -> Iterator[UnsentRun]:
    """Yield the runs of a project, by default this one, with unsent operations, oldest first; warn of damaged ones."""
    folder = (root or project_root()) / UNSENT
    files = sorted(folder.glob(f"*/{RUN_FILE}"), key=lambda path: path.stat().st_mtime)
    for path in files:
        if (path.parent / OPERATIONS_FILE).is_file():
            try:
                run = UnsentRun(folder=path.parent, **json.loads(path.read_text(encoding="utf-8")))
            except (ValueError, TypeError):
                _warn(f"{path} is damaged: {path.parent} cannot be sent")
            else:
                yield run


def _is_refusal(error: UserError) -> bool:
    """Return whether the store understood the request and will never accept it; missing permission can be granted."""
    status = getattr(error.__cause__, "get_http_status_code", lambda: None)()
    return status in (400, 404, 409, 422)


def _to_line(operation: Operation) -> str:
    return json.dumps(asdict(operation), ensure_ascii=False) + "\n"


def _warn(message: str) -> None:
    from tqdm import tqdm

    # Above a progress bar, if there is one.
    tqdm.write(f"warning: {message}", file=sys.stderr)
