"""Every training run in MLflow as one table: params, metrics, time and memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from yoyak.tracking.client import connect, translate_mlflow_errors
from yoyak.tracking.runs import ERROR, MEMBER, STAGE

if TYPE_CHECKING:
    from mlflow.entities import Run

PAGE = 1000
"""Runs that are fetched at once."""
FIRST = ("member", "started", "status", "minutes", "eval_combined", "eval_loss", "peak_memory_mb")
"""Columns that come first, in this order; the others follow by name."""
TAGS = {"git.commit": "commit", "git.dirty": "dirty", "DVC_EXP_NAME": "experiment", "device": "device", ERROR: "error"}
"""Tags that are columns, with their names there."""

Row = dict[str, Any]


def collect_runs(member: str | None = None, scores: Mapping[str, Mapping[str, float]] | None = None) -> list[Row]:
    """Return a row for each training run, newest first; all rows have the same keys.

    Args:
        member: Only this member's.
        scores: Scores by split of the runs whose models have been evaluated, by run id.
    """
    client = connect()
    runs: list[Run] = []
    with translate_mlflow_errors():
        experiments = [each.experiment_id for each in client.search_experiments()]
        token: str | None = None
        while True:
            page = client.search_runs(experiments, f"tags.`{STAGE}` = 'train'", max_results=PAGE, page_token=token)
            runs, token = [*runs, *page], page.token
            if not token:
                break
    rows = [
        _row(run, (scores or {}).get(run.info.run_id, {}))
        for run in runs
        if member in (None, run.data.tags.get(MEMBER))
    ]
    columns = dict.fromkeys([*FIRST, *sorted({key for row in rows for key in row})])
    return [{column: row.get(column) for column in columns} for row in rows]


def _row(run: Run, scores: Mapping[str, float]) -> Row:
    member, info = run.data.tags.get(MEMBER, ""), run.info
    started = datetime.fromtimestamp(info.start_time / 1000, UTC).isoformat(timespec="seconds")
    minutes = round((info.end_time - info.start_time) / 60_000, 2) if info.end_time else None
    return {
        **{key.removeprefix(f"members.{member}."): value for key, value in run.data.params.items()},
        **run.data.metrics,
        **{f"{split}_combined": score for split, score in scores.items()},
        **{column: run.data.tags.get(tag) for tag, column in TAGS.items()},
        "member": member,
        "run_id": info.run_id,
        "started": started,
        "status": info.status,
        "minutes": minutes,
    }
