"""`yoyak study run`: open a study or go on with it, run its trials, and write what came out."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from filelock import FileLock, Timeout

from yoyak import project
from yoyak.errors import UserError
from yoyak.params import PARAMS_FILE, Params, validate
from yoyak.params.overrides import read_with_overrides
from yoyak.params.studies import Study, plain
from yoyak.params.study_files import load_study, study_file
from yoyak.studies import files, mirror, outcome, records, report, scoring
from yoyak.studies.kinds import Kind, open_kind
from yoyak.studies.storage import open_storage
from yoyak.studies.supervisor import Supervisor
from yoyak.tracking import lineage
from yoyak.tracking.client import import_for_reading
from yoyak.tracking.stage_run import ERROR, StageRun, flatten
from yoyak.tracking.sync import sync_runs

FREE = ("trials", "minutes", "keep", "retries", "pruner", "sampler", "seed")
"""Keys of a study file that may change while its trials stay comparable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says."""

    trials: int | None = None
    workers: int = 1
    storage: str | None = None
    extend: bool = False
    restart: bool = False
    """Start over if the search space, the data or the code has changed; what was there is kept aside."""


def read_tree() -> dict[str, Any]:
    """Return the tree of params.yaml with the environment's overrides, which is valid."""
    tree, sources = read_with_overrides(PARAMS_FILE, os.environ, Params)
    validate(tree, PARAMS_FILE, sources)
    return tree


def run_study(name: str, options: Options) -> outcome.Summary:
    """Run a study until as many trials have ended as were asked for, and return its summary.

    Raises UserError where that was not possible, and KeyboardInterrupt after Ctrl-C; what has ended is kept.
    """
    tree = read_tree()
    definition = load_study(study_file(name), tree)
    kind = open_kind(definition, tree, project.STUDIES / name)
    kind.check()
    with _lock(kind.folder, name):
        storage = open_storage(options.storage, kind.folder / files.JOURNAL, records.on_stale(definition.retries))
        study, identity = _open_study(name, definition, storage), identify(kind)
        same = _has_objectives(study, definition) and study.user_attrs.get(records.IDENTITY, identity) == identity
        if options.restart and not same:
            _set_aside(kind.folder, options.storage)
            storage = open_storage(None, kind.folder / files.JOURNAL)
            study = _open_study(name, definition, storage)
        if not _has_objectives(study, definition):
            raise UserError(
                f"studies/{name} was begun with other objectives, which cannot be changed: give the study a new name, "
                f"or add --restart to put its trials aside."
            )
        check_identity(study, identity, kind, options.extend)
        target = _queue(study, kind, options.trials or definition.trials)
        # Runs need no pandas.
        import_for_reading()
        run, made = mirror.open_parent(study, flatten(plain(definition)))
        supervisor = Supervisor(
            kind=kind,
            name=name,
            study=study,
            storage=storage,
            settings={
                "name": name,
                "study": plain(definition),
                "tree": tree,
                "folder": str(kind.folder),
                "journal": str(kind.folder / files.JOURNAL),
                "storage": options.storage,
                "mirror": made.dump(),
            },
            workers=options.workers,
            target=target,
            minutes=definition.minutes,
            shared=options.storage is not None,
        )
        status = "FAILED"
        try:
            supervisor.run()
            status = "KILLED" if supervisor.interrupts else "FAILED" if supervisor.problem else "FINISHED"
        finally:
            summary = _conclude(kind, study, supervisor, run, made, status, options.storage)
    if supervisor.interrupts:
        raise KeyboardInterrupt
    if supervisor.problem:
        raise UserError(f"{name}: {supervisor.problem} What has ended is kept: run it again to go on.")
    return summary


def _conclude(
    kind: Kind,
    study: optuna.Study,
    supervisor: Supervisor,
    run: StageRun,
    made: mirror.Mirror,
    status: str,
    storage: str | None,
) -> outcome.Summary:
    """Write the outcome, bring MLflow up to date, and close the study's run."""
    trials = study.get_trials(deepcopy=False)
    for number, scores in supervisor.scores.items():
        if scores:
            files.write_scores(kind.folder, scoring.describe_basis(kind, study, trials[number]), scores)
    (kind.folder / files.TRIALS).mkdir(exist_ok=True)
    summary = outcome.summarize(kind, study, complete=status == "FINISHED")
    outcome.write_outcome(kind, study, summary)
    report.write_report(kind, study, summary, storage)
    try:
        sync_runs()
        mirror.reconcile(study, made)
    except UserError as error:
        again = f"yoyak study run {study.study_name}"
        print(f"warning: {error} What is missing in MLflow is made by the next `{again}`.", file=sys.stderr)
    best = summary.best
    run.log_metrics(
        {
            **{f"trials_{state.lower()}": count for state, count in summary.states.items()},
            **({f"best_{name}": value for name, value in best.measures.items()} if best else {}),
            **({"best_dev": best.dev.mean} if best and best.dev else {}),
            **({"best_gate": best.gate.mean} if best and best.gate else {}),
        }
    )
    for path in (files.SUMMARY, files.BEST, files.TABLE):
        run.log_artifact(kind.folder / path)
    run.log_artifacts(kind.folder / files.REPORT, files.REPORT)
    run.end(status, {ERROR: supervisor.problem} if supervisor.problem else {})
    return summary


@contextmanager
def _lock(folder: Path, name: str) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / files.LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"another `yoyak study run` runs {name} in this folder: wait until it has ended.") from None
    try:
        yield
    finally:
        lock.release()


def _open_study(name: str, definition: Study, storage: optuna.storages.BaseStorage) -> optuna.Study:
    directions = list(definition.objectives.values())
    return optuna.create_study(study_name=name, storage=storage, directions=directions, load_if_exists=True)


def _has_objectives(study: optuna.Study, definition: Study) -> bool:
    return [direction.name.lower() for direction in study.directions] == list(definition.objectives.values())


def identify(kind: Kind) -> dict[str, str]:
    """Return what decides whether trials can be compared: the search space, params, what is read, and code."""
    definition = {key: value for key, value in plain(kind.study).items() if key not in FREE}
    tried = set(getattr(kind.study, "dimensions", ()))
    base = {key: value for key, value in flatten(kind.base()).items() if key not in tried}
    code = kind.code()
    return {
        **flatten(definition),
        **{f"params.yaml: {key}": value for key, value in base.items()},
        **lineage.digests(kind.inputs()),
        **{f"checkpoint {name}": digest for name, digest in kind.checkpoints().items()},
        **({"code": code} if code else {}),
        **{f"version of {package}": version for package, version in lineage.versions().items()},
    }


def check_identity(study: optuna.Study, current: Mapping[str, str], kind: Kind, extend: bool) -> None:
    """Remember what a study is. Raises UserError if it has changed, unless ``extend`` allows that."""
    name, stored = study.study_name, study.user_attrs.get(records.IDENTITY)
    if stored == current:
        return
    if stored is not None:
        changes = records.describe_change(stored, current)
        choices = [key for key in current if key.startswith("dimensions.") and ".choices" in key]
        fixed = [key for key in {**stored, **current} if key.split(".")[0] in kind.unchangeable]
        if any(key in stored and stored[key] != current[key] for key in choices) or any(
            stored.get(key) != current.get(key) for key in fixed
        ):
            raise UserError(
                f"studies/{name} has other choices than when it was begun ({changes}), which Optuna cannot compare: "
                f"give the study a new name."
            )
        if not extend:
            raise UserError(
                f"studies/{name} is not what it was when its first trial ran ({changes}): rename studies/{name}.yaml "
                f"to start over, or add --extend to go on all the same, or --restart to put its trials aside."
            )
    study.set_user_attr(records.IDENTITY, dict(current))


def _set_aside(folder: Path, storage: str | None) -> None:
    """Keep the journal of a study under another name, and delete what its trials left."""
    if storage is not None:
        raise UserError("--restart is for studies in files: give a study in a database a new name.")
    journal = folder / files.JOURNAL
    old = len(list(folder.glob(f"{journal.stem}-*{journal.suffix}"))) + 1
    journal.rename(journal.with_stem(f"{journal.stem}-{old}"))
    for name in (files.TRIALS, files.DECODED, files.PREPARED):
        shutil.rmtree(folder / name, ignore_errors=True)
    (folder / files.SCORES).unlink(missing_ok=True)


def _queue(study: optuna.Study, kind: Kind, trials: int | None) -> int | None:
    """Queue the trials of a grid that have not been queued yet; return how many are to end in all, if that is fixed."""
    queue = kind.queue()
    if queue is None:
        return trials
    random.Random(kind.study.seed).shuffle(queue)
    queued = [trial.system_attrs.get("fixed_params") for trial in study.get_trials(deepcopy=False)]
    wanted = queue[:trials] if trials else queue
    for values in wanted:
        if values not in queued:
            study.enqueue_trial(values)
    return len(wanted)
