"""`yoyak study run` with real processes: who dies, who is interrupted, who goes on, and what MLflow is told."""

from __future__ import annotations

import json
import os
import signal
import time
from functools import partial
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from mlflow_server import MlflowServer, Postgres
from studies.conftest import StudyProject, followed, states, wait_until, workers_of
from yoyak.errors import UserError
from yoyak.studies import records
from yoyak.studies.storage import open_storage
from yoyak.studies.supervisor import ORPHANS_SECONDS

pytestmark = pytest.mark.slow


def test_a_worker_that_dies_costs_nothing_but_time(study_project: StudyProject) -> None:
    study_project.cheap(trials=5, keep=2, fail={1: "kill"})
    process = study_project.start("run", "cheap", "--workers", "2")
    with followed(process) as children:
        wait_until(lambda: len(workers_of(process, children)) >= 2, process)
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err

    trials = study_project.trials()
    [killed] = [trial for trial in trials if trial.state is TrialState.FAIL]
    [again] = [trial for trial in trials if trial.system_attrs.get("failed_trial") == killed.number]
    assert states(trials) == ["COMPLETE"] * 5 + ["FAIL"]
    assert "signal 9" in killed.user_attrs["reason"]
    assert again.params == killed.params
    assert again.user_attrs["notes"]["resumed_from"] == 1, "from its checkpoint"

    folder = study_project.folder / "studies/cheap"
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["states"] == {"COMPLETE": 5}
    assert summary["retried"] == 1
    best = max((trial for trial in trials if trial.value is not None), key=lambda trial: trial.value or 0)
    assert summary["best"]["number"] == best.number
    assert summary["best"]["dev"]["mean"] == pytest.approx(0.2)
    assert summary["best"]["gate"]["mean"] == pytest.approx(0.1)
    assert "gate" in summary["warning"]
    kept = sorted(trials, key=lambda trial: -(trial.value or -1))[:2]
    assert {path.name for path in (folder / "trials").iterdir()} == {str(records.original_number(t)) for t in kept}
    assert len((folder / "trials.csv").read_text().splitlines()) == 1 + 6
    assert "optuna-dashboard studies/cheap/journal.log" in (folder / "report/report.md").read_text()
    assert (folder / "report/report.html").read_text().count("data:image/svg+xml") >= 3

    [parent], children_runs = study_project.runs()
    assert parent.info.status == "FINISHED"
    assert sorted(run.info.status for run in children_runs) == ["FAILED"] + ["FINISHED"] * 5
    assert {run.data.tags["mlflow.parentRunId"] for run in children_runs} == {parent.info.run_id}
    by_number = {int(run.data.tags["yoyak.trial"]): run for run in children_runs}
    assert "signal 9" in by_number[killed.number].data.tags["yoyak.error"]
    for trial in trials:
        logged = float(by_number[trial.number].data.params["members.bart.learning_rate"])
        assert logged == trial.params["members.bart.learning_rate"]
    assert by_number[best.number].data.metrics["combined"] == best.value

    # More trials go on in the same runs, and what changed is refused.
    (study_project.folder / "data.txt").write_text("other data")
    with pytest.raises(UserError, match=r"data\.txt.*--extend"):
        study_project.run_here(trials=6)
    assert study_project.run_here(trials=6, extend=True).states == {"COMPLETE": 6}
    assert len(study_project.runs()[0]) == 1


def test_a_supervisor_that_is_killed_leaves_nothing_behind(study_project: StudyProject) -> None:
    study_project.cheap(trials=4, steps=8, seconds=0.1)
    process = study_project.start("run", "cheap", "--workers", "2")
    steps = study_project.folder / "studies/cheap/trials"
    with followed(process) as children:
        wait_until(lambda: list(steps.glob("*/step")), process)
        workers_of(process, children)
        process.kill()
        process.communicate()
    study_project.run_here(workers=2)
    trials = study_project.trials()
    ended = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert len(ended) == 4
    assert all(trial.state.is_finished() for trial in trials)
    assert any(trial.user_attrs["notes"]["resumed_from"] for trial in ended)
    [parent], runs = study_project.runs()
    assert {run.info.status for run in (parent, *runs)} <= {"FINISHED", "FAILED", "KILLED"}
    assert sum(run.info.status == "FINISHED" for run in runs) == 4


def read_steps(folder: Path) -> dict[str, int]:
    """How far each trial is."""
    return {path.parent.name: int(path.read_text() or 0) for path in folder.glob("*/step")}


def has_advanced(folder: Path, before: dict[str, int]) -> bool:
    return any(step > before.get(name, 0) for name, step in read_steps(folder).items())


def test_ctrl_c_ends_trials_at_their_next_step_and_keeps_them(study_project: StudyProject) -> None:
    study_project.cheap(trials=2, steps=100, seconds=0.1)
    steps = study_project.folder / "studies/cheap/trials"
    for presses in (1, 2):
        process = study_project.start("run", "cheap")
        with followed(process) as children:
            before = read_steps(steps)
            wait_until(partial(has_advanced, steps, before), process)
            workers_of(process, children)
            for _ in range(presses):
                process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=300)
        assert process.returncode == 130
        assert "interrupted" in err
        trials = study_project.trials()
        assert states(trials) == ["FAIL"] * presses + ["WAITING"]
        assert {trial.user_attrs["failure"] for trial in trials[:-1]} <= {"interrupted"}
    study_project.cheap(trials=1, steps=int((steps / "0/step").read_text()) + 1, seconds=0.0)
    study_project.run_here(extend=True)
    last = study_project.trials()[-1]
    assert last.state is TrialState.COMPLETE
    assert last.user_attrs["notes"]["resumed_from"] > 0
    assert sorted(run.info.status for run in study_project.runs()[1]) == ["FINISHED", "KILLED", "KILLED"]


def test_failures_have_reasons_and_three_alike_end_the_study(study_project: StudyProject) -> None:
    study_project.cheap(trials=9, fail={0: "nan", 2: "memory", 3: "memory", 4: "memory"})
    with pytest.raises(UserError, match="3 trials in a row failed alike"):
        study_project.run_here()
    trials = study_project.trials()
    assert [trial.state.name for trial in trials] == ["FAIL", "COMPLETE", "FAIL", "FAIL", "FAIL"]
    assert [trial.user_attrs.get("failure") for trial in trials][2:] == ["out of memory"] * 3
    assert "combined is nan" in trials[0].user_attrs["reason"]
    [parent], runs = study_project.runs()
    assert parent.info.status == "FAILED"
    assert sorted(run.info.status for run in runs) == ["FAILED"] * 4 + ["FINISHED"]


def create_study(project: StudyProject) -> optuna.Study:
    storage = open_storage(None, project.folder / "studies/cheap/journal.log")
    return optuna.create_study(study_name="cheap", direction="maximize", storage=storage)


def test_a_trial_that_kills_every_process_uses_up_its_retries_and_the_study_goes_on(
    study_project: StudyProject,
) -> None:
    study_project.cheap(trials=2, retries=3, poison=0)
    assert study_project.run_here().states == {"COMPLETE": 2, "FAIL": 1}
    killed = [trial for trial in study_project.trials() if trial.state is TrialState.FAIL]
    assert [records.original_number(trial) for trial in killed] == [0] * 4


def test_a_journal_whose_host_has_another_name_now_goes_on(study_project: StudyProject) -> None:
    study_project.cheap(trials=1)
    create_study(study_project).ask().set_user_attr(records.WORKER, "host-of-a-container-that-is-gone:7:1700000000")
    started = time.monotonic()
    assert study_project.run_here().states == {"COMPLETE": 1}
    assert time.monotonic() - started < ORPHANS_SECONDS
    assert study_project.trials()[0].user_attrs["reason"] == "Its process was killed."


def test_a_grid_runs_every_combination_once(study_project: StudyProject) -> None:
    choices = {"type": "categorical", "choices": [0.1, 0.2]}
    seeds = {"type": "int", "low": 1, "high": 3}
    study_project.cheap(
        "grid", sampler={"type": "grid"}, dimensions={"members.bart.learning_rate": choices, "seed": seeds}
    )
    study_project.run_here("grid", workers=2)
    tried = [tuple(trial.params.values()) for trial in study_project.trials("grid")]
    assert sorted(tried) == [(rate, seed) for rate in (0.1, 0.2) for seed in (1, 2, 3)]


def test_a_grid_that_was_queued_whole_ends_after_as_many_trials_as_are_asked_for(study_project: StudyProject) -> None:
    choices = {"type": "categorical", "choices": [0.1, 0.2, 0.3, 0.4]}
    study_project.cheap(sampler={"type": "grid"}, dimensions={"members.bart.learning_rate": choices}, fail={0: "nan"})
    study = create_study(study_project)
    for rate in (0.1, 0.2, 0.3, 0.4):
        study.enqueue_trial({"members.bart.learning_rate": rate})
    assert study_project.run_here(trials=2).states == {"COMPLETE": 1, "FAIL": 1, "WAITING": 2}
    assert study_project.run_here().states == {"COMPLETE": 3, "FAIL": 1}


def test_scores_belong_to_a_trial_and_to_how_it_summarizes(study_project: StudyProject) -> None:
    study_project.cheap(trials=1)
    study_project.run_here()
    scores = study_project.folder / "studies/cheap/scores.json"
    scores.write_text(json.dumps({**json.loads(scores.read_text()), "scores": {"dev": [0.9, 0.9]}}))
    best = study_project.run_here().best
    assert best is not None
    assert best.dev is not None
    assert best.dev.mean == pytest.approx(0.9), "what has been scored is not scored again"
    params = study_project.folder / "params.yaml"
    params.write_text(params.read_text().replace("  length_penalty: ", "  length_penalty: 1"))
    best = study_project.run_here().best
    assert best is not None
    assert best.dev is not None
    assert best.dev.mean == pytest.approx(0.2)

    # What is started over with other objectives does not inherit them.
    study_project.cheap(trials=1, objectives={"cost": "minimize"}, die_scoring=True)
    with pytest.raises(UserError, match=r"other objectives.*--restart"):
        study_project.run_here()
    best = study_project.run_here(restart=True).best
    assert best is not None
    assert best.dev is None
    assert not scores.exists()
    assert (study_project.folder / "studies/cheap/journal-1.log").is_file()


def test_a_worker_that_dies_while_it_scores_is_mentioned(
    study_project: StudyProject, capsys: pytest.CaptureFixture[str]
) -> None:
    study_project.cheap(trials=1, die_scoring=True)
    study_project.run_here()
    assert "warning: trial 0 has no scores on dev and gate" in capsys.readouterr().err


def test_several_objectives_give_a_pareto_front(study_project: StudyProject) -> None:
    study_project.cheap(trials=6, objectives={"combined": "maximize", "cost": "minimize"})
    summary = study_project.run_here()
    points = [(best.measures["combined"], best.measures["cost"]) for best in summary.front]
    assert points
    assert summary.best is None
    every = [tuple(trial.values) for trial in study_project.trials()]
    for combined, cost in points:
        assert not any(other[0] >= combined and other[1] < cost for other in every)
    assert (study_project.folder / "studies/cheap/report/pareto_front.svg").is_file()


def test_a_study_outlives_its_database_and_is_joined_by_another_machine(
    study_project: StudyProject, postgres: Postgres, tmp_path: Path
) -> None:
    url = postgres.create_database(f"optuna{os.getpid()}")
    study_project.cheap(trials=6, steps=12, seconds=0.2)
    joined = StudyProject(folder=tmp_path / "joined", variables=study_project.variables)
    joined.folder.mkdir()
    for name in ("params.yaml", "data.txt", "mlflow.db"):
        (joined.folder / name).write_bytes((study_project.folder / name).read_bytes())
    (joined.folder / "studies").mkdir()
    (joined.folder / "studies/cheap.yaml").write_bytes((study_project.folder / "studies/cheap.yaml").read_bytes())

    first = study_project.start("run", "cheap", "--storage", url)
    second = joined.start("run", "cheap", "--storage", url)
    with followed(first) as children, followed(second) as others:
        for machine, process, found in ((study_project, first, children), (joined, second, others)):
            wait_until(partial(has_advanced, machine.folder / "studies/cheap/trials", {}), process)
            workers_of(process, found)
        postgres.stop()
        postgres.start()
        for process in (first, second):
            out, err = process.communicate(timeout=300)
            assert process.returncode == 0, out + err
    trials = study_project.trials(url=url)
    assert states(trials).count("COMPLETE") == 6
    assert all(trial.state.is_finished() for trial in trials)
    assert len({trial.user_attrs["worker"] for trial in trials}) == 2


def test_a_study_outlives_its_tracking_server(
    study_project: StudyProject, mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    study_project.cheap("away", trials=4, steps=6, seconds=0.1)
    quick = {**mlflow_server.client, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    study_project.variables.update(quick)
    process = study_project.start("run", "away")
    with followed(process) as children:
        wait_until(lambda: list(study_project.folder.glob("studies/away/trials/*/step")), process)
        workers_of(process, children)
        mlflow_server.kill()
        out, err = process.communicate(timeout=300)
    assert process.returncode == 0, out + err
    assert states(study_project.trials("away")) == ["COMPLETE"] * 4
    assert "study run away" in err
    mlflow_server.start()
    for name, value in quick.items():
        monkeypatch.setenv(name, value)
    study_project.run_here("away")
    [parent], runs = study_project.runs("away", mlflow_server.url)
    assert [run.info.status for run in (parent, *runs)] == ["FINISHED"] * 5
    assert sorted(int(run.data.tags["yoyak.trial"]) for run in runs) == [0, 1, 2, 3]


def test_a_process_that_took_the_number_of_another_is_not_taken_for_it() -> None:
    name = records.worker_name()
    assert records.is_alive(name)
    host, pid, started = name.rsplit(":", 2)
    assert records.is_alive(f"{host}:{pid}:{int(started) - 1000}") is False
    assert records.is_alive(f"elsewhere:{pid}:{started}") is None
    assert not psutil.pid_exists(2**22 + 1)
