"""A tracking server that goes away while a stage runs, and comes back: nothing that was computed or logged is lost."""

import json
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from mlflow_helpers import free_port, tracking_server
from yoyak import process
from yoyak.errors import UserError
from yoyak.project import UNSENT
from yoyak.stages import sync
from yoyak.tracking import client, lineage, restore, runs
from yoyak.tracking.operations import Operation
from yoyak.tracking.outbox import OPERATIONS_FILE, RUN_FILE, Outbox, unsent_runs
from yoyak.tracking.stage_run import StageRun
from yoyak.tracking.sync import sync_runs


def log_everything(run: StageRun, folder) -> None:
    run.log_metrics({"loss": 1.5}, step=2)
    run.log_params({"late": True})
    run.log_table([{"input": "가", "prediction": "나"}])
    run.log_dataset("train.jsonl", context="train", rows=3, digest="d" * 32)
    (folder / "curves.csv").write_text("as it was")
    run.log_artifact(folder / "curves.csv", "plots")
    (folder / "curves.csv").write_text("changed since")
    (folder / "charts").mkdir()
    (folder / "charts" / "a.svg").write_text("<svg/>")
    run.log_artifacts(folder / "charts", "plots")


@pytest.mark.slow
def test_a_stage_survives_its_server_and_is_synced_later(store, project, tmp_path, capsys, monkeypatch):
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by server")
    with ExitStack() as server:
        server.enter_context(tracking_server(port))
        with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
            run.log_metrics({"loss": 2.5}, step=1)
            server.close()
            log_everything(run, tmp_path)
            receipt = run.receipt("bart", {"prepared": "p"})
    assert (receipt.run_id, receipt.experiment) == (run.run_id, "by server")
    assert "yoyak sync" in capsys.readouterr().err.splitlines()[-1]
    assert [unsent.name for unsent in unsent_runs()] == ["train bart"]

    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
        [result] = sync_runs()
        assert result.sent == 0
        assert f"127.0.0.1:{port}" in str(result.problem)

    with tracking_server(port):
        # This is how `register` looks for it.
        assert restore.find_training_run(receipt) == restore.TrainingRun(run_id=run.run_id, restored=False)
        assert sync_runs() == []
        server_client = client.connect()
        synced = server_client.get_run(run.run_id)
        parent = server_client.get_run(synced.data.tags["mlflow.parentRunId"])
        history = server_client.get_metric_history(run.run_id, "loss")
        server_client.download_artifacts(run.run_id, "", str(tmp_path / "charts"))
    assert (synced.info.status, parent.info.status) == ("FINISHED", "FINISHED")
    assert [(metric.step, metric.value) for metric in history] == [(1, 2.5), (2, 1.5)]
    assert synced.data.params["late"] == "true"
    assert synced.data.tags["device"] == lineage.device()
    assert synced.inputs
    assert [entry.dataset.digest for entry in synced.inputs.dataset_inputs] == ["d" * 32]
    downloads = tmp_path / "charts"
    assert (downloads / "plots" / "curves.csv").read_text() == "as it was"
    assert (downloads / "plots" / "a.svg").read_text() == "<svg/>"
    assert json.loads((downloads / "samples.json").read_text())["data"] == [["가", "나"]]
    assert list((project / UNSENT).iterdir()) == []


def test_operations_of_a_run_that_the_store_does_not_have_are_kept(store, capsys):
    outbox = Outbox(store, "0" * 32, "train bart")
    outbox.write(Operation(run_id="0" * 32, kind="tags", values={"a": "b"}))
    outbox.write(Operation(run_id="0" * 32, kind="status", values={"status": "FINISHED", "ended": 5}))
    outbox.close()
    assert "yoyak sync" in capsys.readouterr().err
    with pytest.raises(UserError, match="1 of 1 runs"):
        sync.run()
    assert "0" * 32 in capsys.readouterr().out
    [unsent] = unsent_runs()
    assert [operation.kind for operation in unsent.operations()] == ["tags", "status"]


def test_an_operation_that_is_refused_for_good_does_not_hold_up_those_behind_it(store, capsys):
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
        # A param of a run never changes its value.
        run.log_params({"seed": 2})
        run.set_tags({"later": "yes"})
    with pytest.raises(UserError, match="1 of 1 runs"):
        sync.run()
    assert run.run_id in capsys.readouterr().out
    synced = store.get_run(run.run_id)
    assert (synced.data.params["seed"], synced.data.tags["later"], synced.info.status) == ("1", "yes", "FINISHED")
    [unsent] = unsent_runs()
    assert [operation.kind for operation in unsent.operations()] == ["params"]


def test_a_line_that_a_killed_process_could_not_finish_is_skipped(store, project, capsys):
    with runs.stage_run("train", member="bart", params={}, inputs={}) as run:
        pass
    folder = project / UNSENT / run.run_id
    folder.mkdir(parents=True)
    about = {"run_id": run.run_id, "name": "train bart", "store": f"sqlite:///{project}/mlflow.db"}
    line = json.dumps({"run_id": run.run_id, "kind": "tags", "values": {"a": "b"}})
    (folder / "operations.jsonl").write_text(f"{line}\n{line[:20]}")
    (folder / "run.json").write_text(json.dumps({**about, "process": process.process_name()}))
    [waiting] = sync_runs()
    assert process.process_name() in str(waiting.problem), "a process that is still alive sends it itself"
    (folder / "run.json").write_text(json.dumps({**about, "process": f"{socket.gethostname()}:{2**22 + 1}"}))
    sync.run()
    assert f"train bart ({run.run_id}): 1 entries sent" in capsys.readouterr().out
    assert store.get_run(run.run_id).data.tags["a"] == "b"


def test_a_damaged_run_does_not_hold_up_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, text in (("cut", '{"run'), ("list", "[]"), ("other", '{"x": 1}')):
        folder = tmp_path / UNSENT / name
        folder.mkdir(parents=True)
        (folder / RUN_FILE).write_text(text)
        (folder / OPERATIONS_FILE).touch()
    assert list(unsent_runs(tmp_path)) == []
    errors = capsys.readouterr().err
    assert all(f"{name}/{RUN_FILE} is damaged" in errors for name in ("cut", "list", "other"))
