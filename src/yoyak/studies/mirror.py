"""A study in MLflow: a parent run, and a child run for each attempt at a trial, which its worker makes.

Optuna's storage is what counts; MLflow mirrors it. A run that could not be made because the server was away is made
from the storage later, and one whose process has died is closed as the storage says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from yoyak import process
from yoyak.errors import UserError
from yoyak.studies import records
from yoyak.tracking import lineage, runs
from yoyak.tracking.client import (
    connect,
    get_or_create_experiment,
    is_reachable,
    translate_mlflow_errors,
)
from yoyak.tracking.outbox import Outbox

if TYPE_CHECKING:
    import optuna
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from optuna.trial import FrozenTrial

    from yoyak.tracking.stage_run import StageRun

STUDY, TRIAL, PRUNED = "yoyak.study", "yoyak.trial", "yoyak.pruned"
"""Tags of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """What makes the runs of a study's trials."""

    study: str
    experiment: str
    parent_id: str
    tags: Mapping[str, str]
    """Of every run."""

    def dump(self) -> dict[str, Any]:
        """Return it as JSON for a worker."""
        return asdict(self)

    def open(
        self, number: int, values: Mapping[str, Any], *, process_name: str, started: int | None = None
    ) -> StageRun:
        """Make the run of a trial. Raises UserError if the server is away."""
        if not is_reachable():
            raise UserError("The tracking server does not answer.")
        client = connect()
        name = f"{self.study} {number}"
        tags = {
            **self.tags,
            "mlflow.parentRunId": self.parent_id,
            runs.STAGE: "trial",
            runs.PROCESS: process_name,
            TRIAL: str(number),
        }
        run = runs.create_run(client, get_or_create_experiment(client, self.experiment), name, tags, started)
        run = replace(run, outbox=Outbox(client, run.run_id, name), parent_id=self.parent_id)
        run.log_params(values)
        return run


def open_parent(study: optuna.Study, definition: Mapping[str, Any]) -> tuple[StageRun, Mirror]:
    """Return the run of a study, which is made if this store does not have it yet, and what makes its trials' runs.

    Raises UserError if the store cannot be reached.
    """
    client, git = connect(), lineage.git()
    outer = os.environ.pop("MLFLOW_RUN_ID", None)
    key = lineage.pipeline_key(git.commit)
    tags = {**runs.common_tags(git, key), STUDY: study.study_name}
    experiment = get_or_create_experiment(client, os.environ.get("MLFLOW_EXPERIMENT_NAME") or runs.EXPERIMENT)
    run = _find(study.user_attrs.get(records.PARENT))
    if run is None:
        parent_tags = {
            **tags,
            runs.STAGE: "study",
            runs.PROCESS: process.process_name(),
            **({"mlflow.parentRunId": outer} if outer else {}),
        }
        run = runs.create_run(client, experiment, f"study {study.study_name}", parent_tags)
        run.log_params(definition)
        study.set_user_attr(records.PARENT, run.run_id)
    run = replace(run, outbox=Outbox(client, run.run_id, f"study {study.study_name}"))
    run.set_status("RUNNING")
    versions = {f"version.{package}": version for package, version in lineage.versions().items()}
    mirror = Mirror(study=study.study_name, experiment=run.experiment, parent_id=run.run_id, tags={**tags, **versions})
    return run, mirror


def _find(run_id: str | None) -> StageRun | None:
    if run_id is None:
        return None
    try:
        return runs.open_run(run_id)
    except UserError:
        return None


def find_trial_run(study: str, parent_id: str, number: int) -> StageRun:
    """Return the run of a trial, below that of its study; UserError if this store does not have it."""
    client, parent = connect(), _find(parent_id or None)
    found: list[Run] = []
    if parent is not None:
        with translate_mlflow_errors():
            query = f"tags.`mlflow.parentRunId` = '{parent_id}' AND tags.`{TRIAL}` = '{number}'"
            found = list(client.search_runs([parent.experiment_id], query, max_results=1))
    if not found:
        raise UserError(
            f"MLflow has no run of trial {number} of {study}: `yoyak study run {study}` makes those that are missing."
        )
    return runs.open_run(found[0].info.run_id)


def close(run: StageRun, trial: FrozenTrial) -> None:
    """Give a run the end that its trial had."""
    tags = {"device": lineage.device()}
    failure = trial.user_attrs.get(records.FAILURE)
    match records.state_name(trial):
        case "COMPLETE":
            status = "FINISHED"
        case "PRUNED":
            status, tags[PRUNED] = "KILLED", "true"
        case _:
            status = "KILLED" if failure in (records.INTERRUPTED, records.SURPLUS) else "FAILED"
            tags[runs.ERROR] = trial.user_attrs.get(records.REASON, "The process was killed.")
    ended = int(trial.datetime_complete.timestamp() * 1000) if trial.datetime_complete else None
    run.log_metrics(trial.user_attrs.get(records.MEASURES, {}))
    run.end(status, tags, ended=ended)


def reconcile(study: optuna.Study, mirror: Mirror) -> None:
    """Close runs whose process has died, and make the runs that are missing.

    Raises UserError if the store cannot be reached.
    """
    trials = {trial.number: trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()}
    if not is_reachable():
        raise UserError("The tracking server does not answer.")
    client = connect()
    with translate_mlflow_errors():
        children = _find_children(client, mirror)
    missing = set(trials)
    for child in children:
        trial = trials.get(int(child.data.tags.get(TRIAL, -1)))
        if trial is None:
            continue
        missing.discard(trial.number)
        gone = process.is_gone(child.data.tags.get(runs.PROCESS, ""))
        if child.info.status == "RUNNING" and (gone or _was_lost(trial)):
            run = runs.open_run(child.info.run_id)
            close(replace(run, outbox=Outbox(client, run.run_id, f"{mirror.study} {trial.number}")), trial)
    for number in sorted(missing):
        trial = trials[number]
        if trial.user_attrs.get(records.FAILURE) == records.SURPLUS:
            continue
        started = int(trial.datetime_start.timestamp() * 1000) if trial.datetime_start else None
        worker = str(trial.user_attrs.get(records.WORKER, "")).rpartition(":")[0]
        run = mirror.open(number, trial.params, process_name=worker, started=started)
        run.log_curves([{"step": step, "value": value} for step, value in trial.intermediate_values.items()])
        close(run, trial)


def _find_children(client: MlflowClient, mirror: Mirror) -> list[Run]:
    experiment = get_or_create_experiment(client, mirror.experiment)
    query = f"tags.`mlflow.parentRunId` = '{mirror.parent_id}'"
    found: list[Run] = []
    token = None
    while True:
        page = client.search_runs([experiment.experiment_id], query, page_token=token)
        found += page
        token = page.token
        if not token:
            return found


def _was_lost(trial: FrozenTrial) -> bool:
    """Return whether somebody else ended a trial, since its process was silent for too long."""
    return records.state_name(trial) == "FAIL" and trial.user_attrs.get(records.FAILURE) in (None, records.KILLED)
