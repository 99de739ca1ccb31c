"""The pipeline with the tracking server of a team, and what happens when it is away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from mlflow_helpers import free_port
from mlflow_server import MlflowServer, Postgres, mlflow_server, postgres  # noqa: F401
from pipeline.conftest import edit, environment, make_project, shell, succeed
from yoyak.stages import base, evaluate, predict, prepare, register, train
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


@contextmanager
def using(server: MlflowServer, folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Let this process work in a project, with the server as its store."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("MLFLOW_", "DVC_"))]:
            patch.delenv(name)
        # Set and deleted, so that what the code under test sets is taken back too.
        for name in client.ENVIRONMENT:
            patch.setenv(name, "")
            patch.delenv(name)
        for name, value in {**server.client, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}.items():
            patch.setenv(name, value)
        patch.setattr(client, "_clients", {})
        patch.chdir(folder)
        yield patch


@pytest.fixture(scope="module")
def team(mlflow_server: MlflowServer, postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A project whose stages ran with the server, from prepare to register; in between PostgreSQL was restarted."""
    folder = make_project(tmp_path_factory.mktemp("team"))
    edit(folder, only_bart)
    succeed(folder, "git", "commit", "-aqm", "one member")
    with using(mlflow_server, folder):
        prepare.run()
        base.run("bart")
        train.run("bart")
        postgres.stop()
        postgres.start()
        predict.run("bart")
        evaluate.run()
        register.run()
    return folder


@pytest.fixture
def connected(team: Path, mlflow_server: MlflowServer, tmp_path: Path) -> Iterator[MlflowClient]:  # noqa: F811
    """A client of the server, in the project."""
    with using(mlflow_server, team) as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield client.connect()


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
    assert {"pipeline", "train", "predict", "evaluate"} <= set(stages)
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


def newest(registry: MlflowClient) -> ModelVersion:
    """The newest version that is ours."""
    query = "name = 'yoyak' AND tags.`member` = 'bart'"
    return registry.search_model_versions(query, order_by=["version_number DESC"])[0]


def delete_run(registry: MlflowClient) -> None:
    registry.delete_run(str(newest(registry).run_id))


def add_version_by_hand(registry: MlflowClient) -> None:
    registry.create_model_version("yoyak", "s3://somewhere/else")


def make_foreign_version_champion(registry: MlflowClient) -> None:
    other = registry.create_model_version("yoyak", "s3://somewhere/else")
    registry.set_registered_model_alias("yoyak", "champion", other.version)


def delete_champion(registry: MlflowClient) -> None:
    registry.set_registered_model_alias("yoyak", "champion", newest(registry).version)
    registry.delete_model_version("yoyak", newest(registry).version)


def delete_alias(registry: MlflowClient) -> None:
    registry.set_registered_model_alias("yoyak", "champion", newest(registry).version)
    registry.delete_registered_model_alias("yoyak", "champion")


def delete_model(registry: MlflowClient) -> None:
    registry.delete_registered_model("yoyak")


def delete_members_model(registry: MlflowClient) -> None:
    registry.delete_registered_model("yoyak-bart")


def write_into_the_history(registry: MlflowClient) -> None:
    registry.create_registered_model("yoyak-history")
    registry.create_model_version("yoyak-history", "s3://somewhere/else", tags={"after": "yesterday", "to": "all"})


@pytest.mark.parametrize(
    "harm",
    [
        add_version_by_hand,
        make_foreign_version_champion,
        delete_run,
        delete_champion,
        delete_alias,
        delete_model,
        delete_members_model,
        write_into_the_history,
    ],
)
def test_a_registry_that_others_write_to_is_registered_in(connected, harm):
    def own_versions():
        """Versions of ours that are champion or challenger."""
        model = connected.get_registered_model("yoyak")
        found = [connected.get_model_version("yoyak", number) for number in set(model.aliases.values())]
        return [version for version in found if version.tags.get("member") == "bart"]

    harm(connected)
    for version in connected.search_model_versions("name = 'yoyak'"):
        connected.set_model_version_tag("yoyak", version.version, "yoyak.fingerprint", "of something else")
    register.run()
    assert own_versions()
    assert connected.get_registered_model("yoyak-bart").aliases["champion"]


def test_a_wrong_password_host_or_port_is_one_sentence(connected, team, mlflow_server):  # noqa: F811
    command = ("summarize", f"models:/yoyak/{newest(connected).version}", "--input", "data/test.csv")
    server = mlflow_server.client
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
