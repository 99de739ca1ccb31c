import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from typing import Any

import pytest

from mlflow_helpers import git
from yoyak.errors import UserError
from yoyak.params import Generation
from yoyak.tracking import client as mlflow_client
from yoyak.tracking import lineage, restore, runs

START: dict[str, Any] = {"params": {}, "inputs": {}}


def stage(name="train", member="bart", **changes):
    return runs.stage_run(name, member=member, **{**START, **changes})


def search(client, query=""):
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, query, order_by=["attributes.start_time ASC"])


def python(code, **kwargs):
    return subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stderr=subprocess.PIPE, text=True, **kwargs)


def test_a_stage_is_a_child_with_params_tags_and_metrics(store, project, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wise-owl")
    params = {
        "seed": 20,
        "members": {"bart": {"learning_rate": 1e-4, "checkpoint": None, "generation": Generation()}},
        "scoring": {"granularities": ["morpheme"], "이름 (1)": True},
    }
    inputs = {"prepared/train.jsonl": "a" * 32, "data/파일 (1).csv": "b" * 32}
    with stage(params=params, inputs=inputs) as run:
        run.log_metrics({"loss": 2.5, "skipped": None}, step=10)
        assert store.get_run(run.run_id).info.status == "RUNNING"
    parent, child = search(store)
    assert (parent.info.run_name, child.info.run_name) == ("pipeline wise-owl", "train bart")
    assert (parent.info.status, child.info.status) == ("FINISHED", "FINISHED")
    assert child.data.params["members.bart.learning_rate"] == "0.0001"
    assert child.data.params["members.bart.checkpoint"] == "null"
    assert child.data.params["members.bart.generation.num_beams"] == "4"
    assert child.data.params["scoring.granularities"] == '["morpheme"]'
    assert child.data.params["scoring.이름 _1_"] == "true"
    assert child.data.params["seed"] == "20"
    tags = child.data.tags
    assert tags["mlflow.parentRunId"] == parent.info.run_id
    assert tags["git.commit"] == tags["mlflow.source.git.commit"] == git("rev-parse", "HEAD")
    assert tags["git.dirty"] == "false"
    assert tags["DVC_EXP_NAME"] == "wise-owl"
    assert (tags["yoyak.stage"], tags["yoyak.member"], tags["seed"]) == ("train", "bart", "20")
    assert tags["input.prepared/train.jsonl"] == "a" * 32
    assert tags["input.data/파일 _1_.csv"] == "b" * 32
    assert tags["version.torch"].startswith("2.")
    assert tags["version.python"].startswith("3.11.")
    assert tags["device"]
    assert tags["yoyak.pipeline"] == parent.data.tags["yoyak.pipeline"]
    assert child.data.metrics == {"loss": 2.5}


def test_stages_of_one_pipeline_share_a_parent_and_other_params_have_another(store, project):
    with stage("train", "bart"), stage("train", "t5"):
        pass
    with stage("evaluate", None) as run:
        pass
    parents = search(store, "tags.`yoyak.stage` = 'pipeline'")
    assert len(parents) == 1
    assert parents[0].info.run_name == f"pipeline {git('rev-parse', '--short=7', 'HEAD')}"
    assert store.get_run(run.run_id).info.run_name == "evaluate"
    (project / "params.yaml").write_text("seed: 21\n")
    with stage("evaluate", None):
        pass
    assert len(search(store, "tags.`yoyak.stage` = 'pipeline'")) == 2


def test_the_earliest_of_two_parents_is_taken(store, project):
    experiment = mlflow_client.get_or_create_experiment(store, "yoyak").experiment_id
    key = lineage.pipeline_key(lineage.git().commit)
    tags = {runs.PIPELINE: key, runs.STAGE: "pipeline"}
    store.create_run(experiment, start_time=2000, tags=tags)
    first = store.create_run(experiment, start_time=1000, tags=tags)
    with stage() as run:
        pass
    assert store.get_run(run.run_id).data.tags["mlflow.parentRunId"] == first.info.run_id


def test_errors_and_interrupts_are_tags_of_the_run(store):
    with pytest.raises(UserError), stage() as failed:
        raise UserError("train.csv has no rows:\n  add some.")
    with pytest.raises(KeyboardInterrupt), stage() as stopped:
        raise KeyboardInterrupt
    first, second = store.get_run(failed.run_id), store.get_run(stopped.run_id)
    assert (first.info.status, first.data.tags["yoyak.error"]) == ("FAILED", "train.csv has no rows: add some.")
    assert (second.info.status, second.data.tags["yoyak.error"]) == ("KILLED", "KeyboardInterrupt")
    assert search(store, "tags.`yoyak.stage` = 'pipeline'")[0].info.status == "KILLED"
    with stage():
        pass
    assert search(store, "tags.`yoyak.stage` = 'pipeline'")[0].info.status == "FINISHED"


WAITING = """
    import time
    from yoyak.tracking import runs
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        print(run.run_id, flush=True)
        time.sleep(60)
"""


@pytest.mark.slow
def test_sigterm_closes_the_run_and_sigkill_is_found_by_the_next(store):
    first = python(WAITING, stdout=subprocess.PIPE)
    terminated = first.stdout.readline().strip()
    first.send_signal(signal.SIGTERM)
    assert first.wait(60) == 143
    assert store.get_run(terminated).info.status == "KILLED"
    second = python(WAITING, stdout=subprocess.PIPE)
    killed = second.stdout.readline().strip()
    second.kill()
    second.wait(60)
    assert store.get_run(killed).info.status == "RUNNING"
    with stage(), stage("train", "t5"):
        pass
    assert store.get_run(killed).info.status == "KILLED"
    assert store.get_run(killed).data.tags["yoyak.error"] == "The process was killed."
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_stage_that_still_runs_is_left_alone(store):
    with stage() as first:
        with stage():
            pass
        assert store.get_run(first.run_id).info.status == "RUNNING"


def test_curves_come_back_step_by_step(store, tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text("step,epoch,loss,eval_loss\n" + "".join(f"{n},{n / 100},{5 - n / 500},\n" for n in range(1500)))
    with stage() as run:
        run.log_curves(restore.read_curves(path))
    history = store.get_metric_history(run.run_id, "loss")
    assert [(m.step, m.value) for m in history][-1] == (1499, pytest.approx(5 - 1499 / 500))
    assert len(history) == 1500
    assert "eval_loss" not in store.get_run(run.run_id).data.metrics


def test_datasets_tables_and_artifacts_are_with_the_run(store, project, tmp_path):
    (tmp_path / "a.txt").write_text("a")
    with stage() as run:
        run.log_dataset("prepared/train.jsonl", context="training", rows=7, digest="0" * 32 + ".dir")
        run.log_dataset(tmp_path / "a.txt", context="notes", rows=1, name="note")
        run.log_table([{"input": "가", "prediction": "나", "reference": "다"}] * 2)
        run.log_artifact(tmp_path / "a.txt", "notes")
    datasets = {entry.dataset.name: entry for entry in store.get_run(run.run_id).inputs.dataset_inputs}
    assert datasets["train"].dataset.digest == "0" * 32 + ".dir"
    assert [tag.value for tag in datasets["train"].tags] == ["training"]
    assert json.loads(datasets["train"].dataset.profile)["num_rows"] == 7
    assert datasets["note"].dataset.digest == lineage.digest(tmp_path / "a.txt")
    files = project / "mlruns" / "yoyak" / run.run_id / "artifacts"
    table = json.loads((files / "samples.json").read_text())
    assert table["columns"] == ["input", "prediction", "reference"]
    assert table["data"] == [["가", "나", "다"]] * 2
    assert "samples.json" in store.get_run(run.run_id).data.tags["mlflow.loggedArtifacts"]
    assert (files / "notes" / "a.txt").read_text() == "a"


def test_the_run_of_mlflow_run_becomes_the_parent(store, monkeypatch):
    parent = store.create_run("0", run_name="by mlflow run")
    monkeypatch.setenv("MLFLOW_RUN_ID", parent.info.run_id)
    with stage("train", "bart") as first:
        assert "MLFLOW_RUN_ID" not in os.environ
    with stage("predict", "bart") as second:
        pass
    for run in (first, second):
        assert store.get_run(run.run_id).data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.experiment_id == "0"
    after = store.get_run(parent.info.run_id)
    assert after.info.status == "RUNNING", "mlflow run closes its run itself"
    assert after.data.tags["yoyak.pipeline"] == store.get_run(first.run_id).data.tags["yoyak.pipeline"]


def test_children_of_mlflow_run_keep_their_files_where_no_server_is_needed(store, monkeypatch):
    experiment = store.create_experiment("served", artifact_location="mlflow-artifacts:/9")
    parent = store.create_run(experiment)
    monkeypatch.setenv("MLFLOW_RUN_ID", parent.info.run_id)
    with stage() as run:
        run.log_table([{"input": "가"}])
    child = store.get_run(run.run_id)
    assert store.get_experiment(child.info.experiment_id).name == "yoyak"
    assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
    monkeypatch.setattr(runs, "_outer_run", [])
    message = r"experiment 'served'"
    with pytest.raises(UserError, match=message), stage(experiment="served"):
        pass


def test_a_stale_mlflow_run_id_gives_one_sentence(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_RUN_ID", "0" * 32)
    with (
        pytest.raises(UserError, match=r"^MLFLOW_RUN_ID .*\b0{32}\b"),
        stage(),
    ):
        pass


def test_a_deleted_experiment_gives_one_sentence(store):
    store.delete_experiment(store.create_experiment("yoyak"))
    with pytest.raises(UserError, match="mlflow experiments restore --experiment-id 1"), stage():
        pass


@pytest.mark.slow
def test_processes_on_a_fresh_file_make_one_store_and_one_parent(project):
    code = """
        from yoyak.tracking import runs
        with runs.stage_run("train", member="m{}", params={{}}, inputs={{}}) as run:
            run.log_metrics({{"loss": 1.0}})
    """
    started = [python(code.format(number)) for number in range(4)]
    for process in started:
        _, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
    store = mlflow_client.connect()
    assert len(search(store, "tags.`yoyak.stage` = 'pipeline'")) == 1
    assert len(search(store, "tags.`yoyak.stage` = 'train'")) == 4
    assert {run.info.status for run in search(store)} == {"FINISHED"}


def test_a_project_in_a_folder_with_spaces_and_hangul(tmp_path, project, empty_store, monkeypatch):
    folder = tmp_path / "한 글 100%"
    folder.mkdir()
    shutil.copy(empty_store, folder / "mlflow.db")
    (folder / "params.yaml").write_text("seed: 1\n")
    monkeypatch.chdir(folder)
    with stage() as run:
        run.log_table([{"input": "가"}])
    files = {path.name for path in folder.iterdir()}
    assert files == {"mlflow.db", "mlflow.db.lock", "mlruns", "params.yaml"}
    assert (folder / "mlruns" / "yoyak" / run.run_id / "artifacts" / "samples.json").is_file()
    assert not (folder / "mlruns" / "0").exists()


def test_an_unreachable_server_gives_one_sentence(project, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://name:secret@127.0.0.1:9")
    with pytest.raises(UserError, match=r"http://127\.0\.0\.1:9 does not answer") as caught, stage():
        pass
    assert "secret" not in str(caught.value)


def test_an_unresponsive_server_gives_one_sentence(project, monkeypatch):
    monkeypatch.setattr(mlflow_client, "PROBE_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(UserError, match="does not answer"), stage():
            pass


def test_a_file_that_is_not_a_database_gives_one_sentence(project):
    (project / "mlflow.db").write_text("not a database" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db "), stage():
        pass


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("./mlruns", "MLFLOW_TRACKING_URI is './mlruns'"),
        ("ftp://me:secret@host", "MLFLOW_TRACKING_URI is 'ftp://host'"),
        ("http://me:secret@[::1", "MLFLOW_TRACKING_URI is 'http://[::1'"),
        (
            "postgresql+asyncpg://me:secret@host/db",
            "'asyncpg'",
        ),
    ],
)
def test_an_unusable_uri_gives_one_sentence(project, monkeypatch, uri, message):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(UserError) as caught:
        mlflow_client.connect()
    assert message in str(caught.value)


def test_a_database_of_another_version_gives_one_sentence(store, project):
    import sqlite3

    with sqlite3.connect(project / "mlflow.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    code = "from yoyak.tracking.client import connect; connect()"
    process = python(code)
    _, errors = process.communicate()
    assert f"`mlflow db upgrade sqlite:///{project}/mlflow.db`" in errors.rstrip().splitlines()[-1]


@pytest.mark.slow
def test_a_store_whose_creation_was_killed_is_created_again(project):
    """MLflow creates some 60 tables one after the other."""
    process = python(
        """
        import os, signal, sqlalchemy
        from yoyak.tracking.client import connect
        from sqlalchemy.engine import Engine

        tables = []

        @sqlalchemy.event.listens_for(Engine, "after_cursor_execute")
        def kill_in_the_middle(connection, cursor, statement, *_):
            tables.extend(["table"] if "CREATE TABLE" in statement else [])
            if len(tables) == 40:
                os.kill(os.getpid(), signal.SIGKILL)

        connect()
        """
    )
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    experiments = mlflow_client.connect().search_experiments()
    assert [one.artifact_location for one in experiments] == [str(project / "mlruns" / "0")]
    assert {path.name for path in project.iterdir() if "mlflow" in path.name} <= {"mlflow.db", "mlflow.db.lock"}


def test_a_store_with_some_of_its_tables_gives_one_sentence(store, project):
    import sqlite3

    with sqlite3.connect(project / "mlflow.db") as connection:
        connection.execute("DROP TABLE metrics")
        connection.execute("DELETE FROM alembic_version")
    process = python("from yoyak.tracking.client import connect; connect()")
    _, errors = process.communicate()
    assert "has only some of MLflow's tables" in errors.rstrip().splitlines()[-1]


def test_user_settings_are_kept(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    mlflow_client.initialise()
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "7"
    assert os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] == "3"
