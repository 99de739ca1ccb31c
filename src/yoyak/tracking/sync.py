"""Sending what stages logged while their tracking store was unreachable."""

from __future__ import annotations

from dataclasses import dataclass

from yoyak import process
from yoyak.errors import UserError
from yoyak.tracking.client import connect
from yoyak.tracking.outbox import UnsentRun, unsent_runs
from yoyak.tracking.uri import redact_credentials, tracking_uri


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncResult:
    """The outcome for one run with unsent operations."""

    run_id: str
    name: str
    """The run's name in MLflow, such as ``train bart``."""
    sent: int
    """Number of operations sent; 0 if there was a problem."""
    problem: str | None
    """One sentence on why nothing, or not everything, was sent."""


def sync_runs() -> list[SyncResult]:
    """Send the unsent operations of this project's stages; return one result per run.

    Runs of other stores, and those whose process is still running, are skipped. Raises UserError if the store cannot
    be reached.
    """
    runs = list(unsent_runs())
    if not runs:
        return []
    client = connect()
    results = []
    for run in runs:
        sent, problem = 0, _find_obstacle(run)
        if problem is None:
            try:
                sent = run.send(client)
            except (UserError, OSError) as error:
                problem = f"{error} To discard it, delete {run.folder}."
        results.append(SyncResult(run_id=run.run_id, name=run.name, sent=sent, problem=problem))
    return results


def _find_obstacle(run: UnsentRun) -> str | None:
    store = redact_credentials(tracking_uri())
    if run.store != store:
        return f"It belongs to the tracking store at {run.store}, and this is {store}: set MLFLOW_TRACKING_URI."
    complete = any(operation.kind == "status" and operation.run_id == run.run_id for operation in run.operations())
    if not complete and not process.is_gone(run.process):
        return f"It is still being written by {run.process}."
    return None
