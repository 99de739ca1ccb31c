"""The pipeline with the tracking server of a team, and what happens when it is away."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlflow_helpers import free_port
from mlflow_server import MlflowServer, Postgres, mlflow_server, postgres  # noqa: F401
from pipeline.conftest import edit, environment, make_project, shell, succeed
from yoyak.tracking import client

pytestmark = pytest.mark.slow

PARENTS = """
from yoyak.tracking import lineage, runs
from yoyak.tracking.client import connect
run, _ = runs.parent_run(connect(), "by two hosts", "same pipeline", lineage.git())
print(run.info.run_id)
"""


def only_bart(tree):
    tree["members"] = {"bart": tree["members"]["bart"]}
    tree["tokenizers"] = {name: tree["tokenizers"][name] for name in [tree["members"]["bart"]["tokenizer"]]}
    tree["ensemble"] |= {"strategies": {}, "models": {}}
    tree["registry"]["ensemble"] = None


@pytest.fixture(scope="module")
def team(mlflow_server: MlflowServer, postgres: Postgres, tmp_path_factory):  # noqa: F811
    """A project whose stages ran with the server, from prepare to register; in between PostgreSQL was restarted."""
    folder = make_project(tmp_path_factory.mktemp("team"))
    edit(folder, only_bart)
    succeed(folder, "git", "commit", "-aqm", "one member")
    for command in ("prepare", "base bart", "train bart"):
        succeed(folder, "yoyak", *command.split(), **mlflow_server.client)
    postgres.stop()
    postgres.start()
    for command in ("predict bart", "evaluate", "register"):
        succeed(folder, "yoyak", *command.split(), **mlflow_server.client)
    return folder


@pytest.fixture
def connected(team, mlflow_server, monkeypatch, tmp_path):  # noqa: F811
    """This process in the project, with the server as its store."""
    for name, value in {**mlflow_server.client, "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    for name in client.ENVIRONMENT:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(client, "_clients", {})
    monkeypatch.chdir(team)
    return client.connect()


def sentence(folder: Path, *command: str, **variables: str) -> str:
    """What a command that must fail prints on stderr: one line, and no traceback."""
    done = shell(folder, "yoyak", *command, **{"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", **variables})
    assert done.returncode == 1, done.stdout + done.stderr
    line, *more = done.stderr.strip().splitlines()
    assert not more
    return line


def test_every_stage_has_its_run_and_the_best_model_is_champion(connected, team):
    experiment = connected.get_experiment_by_name("yoyak")
    stages = {run.data.tags["yoyak.stage"]: run for run in connected.search_runs([experiment.experiment_id])}
    assert {"pipeline", "prepare", "train", "predict", "evaluate"} <= set(stages)
    assert {run.info.status for run in stages.values()} == {"FINISHED"}
    assert not (team / "mlflow.db").exists()
    assert not (team / "mlruns").exists()
    assert connected.get_registered_model("yoyak").aliases["champion"]


def test_registering_again_does_nothing(connected, team, mlflow_server):  # noqa: F811
    def count():
        found = connected.search_runs([connected.get_experiment_by_name("yoyak").experiment_id])
        return len(found), len(connected.search_model_versions("name = 'yoyak'"))

    before = count()
    assert "nothing changed" in succeed(team, "yoyak", "register", **mlflow_server.client)
    assert count() == before


def test_a_model_is_downloaded_through_the_server(connected, team):
    from yoyak.registry.resolve import resolve_model

    folder = resolve_model("models:/yoyak@champion")
    assert not folder.is_relative_to(team)
    assert (folder / "model.safetensors").read_bytes() == (team / "models/bart/model.safetensors").read_bytes()


def test_hosts_that_start_at_the_same_time_share_one_parent_run(connected, mlflow_server, tmp_path):  # noqa: F811
    processes = []
    for host in range(3):
        folder = tmp_path / f"host{host}"
        folder.mkdir()
        (folder / "params.yaml").touch()
        processes.append(
            subprocess.Popen(
                [sys.executable, "-c", PARENTS],
                cwd=folder,
                env={**environment(), **mlflow_server.client},
                stdout=subprocess.PIPE,
                text=True,
            )
        )
    printed = {process.communicate()[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0, 0, 0]
    parents = connected.search_runs([connected.get_experiment_by_name("by two hosts").experiment_id])
    assert printed == {run.info.run_id for run in parents}
    assert len(parents) == 1


def test_a_wrong_password_host_or_port_is_one_sentence(team, mlflow_server):  # noqa: F811
    command, server = ("summarize", "models:/yoyak@champion"), mlflow_server.client
    assert "(401)" in sentence(team, *command, **{**server, "MLFLOW_TRACKING_PASSWORD": "guessed"})
    other_name = mlflow_server.url.replace("127.0.0.1", "localhost")
    assert "--allowed-hosts" in sentence(team, *command, **{**server, "MLFLOW_TRACKING_URI": other_name})
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "does not answer" in sentence(team, "train", "bart", **{**server, "MLFLOW_TRACKING_URI": nobody})


def test_training_goes_on_without_its_server_and_is_synced_later(team, connected, mlflow_server, tmp_path):  # noqa: F811
    folder = tmp_path / "project"
    shutil.copytree(team, folder)
    settings = {**mlflow_server.client, "MLFLOW_EXPERIMENT_NAME": "cut off", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}

    def trainings():
        experiment = connected.get_experiment_by_name("cut off")
        found = connected.search_runs([experiment.experiment_id]) if experiment else []
        return [run for run in found if run.data.tags.get("yoyak.stage") == "train"]

    with (tmp_path / "train.log").open("wb") as log:
        training = subprocess.Popen(
            ["yoyak", "train", "bart"], cwd=folder, env={**environment(), **settings}, stdout=log, stderr=log
        )
    while not trainings():
        assert training.poll() is None, (tmp_path / "train.log").read_text()
        time.sleep(0.1)
    mlflow_server.kill()
    try:
        assert training.wait() == 0, (tmp_path / "train.log").read_text()
        assert "yoyak sync" in (tmp_path / "train.log").read_text()
        assert (folder / "receipts/bart.json").is_file()
    finally:
        mlflow_server.start()
    succeed(folder, "yoyak", "sync", **settings)
    [run] = trainings()
    assert run.info.status == "FINISHED"
    assert run.data.metrics["train_loss"] > 0
