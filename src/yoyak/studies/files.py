"""The files of a study, in studies/<name>/, and what is kept of its trials."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from optuna.trial import FrozenTrial

from yoyak.files import write_json
from yoyak.studies import records

JOURNAL, LOCK, TRIALS, DECODED, PREPARED = "journal.log", "study.lock", "trials", "decoded", "prepared"
SUMMARY, BEST, TABLE, SCORES, REPORT = "summary.json", "best.yaml", "trials.csv", "scores.json", "report"


def remove_weights(folder: Path, trials: Sequence[FrozenTrial], kept: Iterable[FrozenTrial]) -> None:
    """Delete the folders of trials that have ended, but for those in ``kept`` and those that will be tried again."""
    known, needed, retried = set(), {records.original_number(trial) for trial in kept}, records.retried(trials)
    for trial in trials:
        known.add(records.original_number(trial))
        # One that was interrupted is queued again a moment after it has ended.
        interrupted = trial.user_attrs.get(records.FAILURE) == records.INTERRUPTED
        if not trial.state.is_finished() or (interrupted and trial.number not in retried):
            needed.add(records.original_number(trial))
    for path in (folder / TRIALS).glob("*"):
        if path.name.isdigit() and int(path.name) in known - needed:
            shutil.rmtree(path, ignore_errors=True)


def trial_folder(folder: Path, trial: FrozenTrial) -> Path:
    """Return the folder of a trial."""
    return folder / TRIALS / str(records.original_number(trial))


def write_scores(folder: Path, basis: str, scores: Mapping[str, Sequence[float]]) -> None:
    """Write what a trial scored on each dialogue, and the digest of what that rests on."""
    write_json(folder / SCORES, {"basis": basis, "scores": scores})


def read_scores(folder: Path, basis: str) -> dict[str, list[float]]:
    """Return what a trial scored on each dialogue, by split; empty if what was scored last rests on something else."""
    try:
        stored = json.loads((folder / SCORES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return dict(stored["scores"]) if stored.get("basis") == basis else {}
