"""A real `mlflow ui` in the project: it shows the runs of the default store, and serves as a tracking server."""

import json
import urllib.request

import pytest

from mlflow_helpers import DIALOGUE, free_port, register_champion, tracking_server
from yoyak.errors import UserError
from yoyak.registration.packaging import log_member
from yoyak.registry import promotion
from yoyak.registry.check import is_registered
from yoyak.registry.resolve import resolve_model
from yoyak.tracking import client, restore, runs

pytestmark = pytest.mark.slow


@pytest.fixture
def local_run(store):
    """A run that was written to the default store before any server."""
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
        run.log_table([{"input": "가", "prediction": "나", "reference": "다"}])
    return run


@pytest.fixture
def server(local_run):
    with tracking_server(free_port()) as url:
        yield url


def test_the_ui_shows_local_runs_and_takes_new_ones(server, local_run, tiny_bart, tmp_path, monkeypatch):
    def get(path):
        with urllib.request.urlopen(f"{server}{path}", timeout=20) as answer:
            return json.load(answer)

    run = get(f"/api/2.0/mlflow/runs/get?run_id={local_run.run_id}")["run"]
    assert run["info"]["run_name"] == "train bart"
    table = get(f"/get-artifact?run_uuid={local_run.run_id}&path=samples.json")
    assert table["data"] == [["가", "나", "다"]]

    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by server")
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
        run.log_curves([{"step": step, "loss": 1.0 / (step + 1)} for step in range(200)])
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
        receipt = run.receipt("bart", {})
    assert receipt.experiment == "by server"
    assert restore.find_training_run(receipt) == restore.TrainingRun(run_id=run.run_id, restored=False)
    for _ in range(2):
        best = register_champion("yoyak", model_id, run.run_id, **{promotion.FINGERPRINT: "f"})
        assert (best.version, best.aliases, best.model_id) == (1, ("champion",), model_id)
    assert is_registered("f")
    assert not is_registered("g")
    for uri in ("models:/yoyak@champion", f"runs:/{run.run_id}/bart"):
        folder = resolve_model(uri)
        assert folder.is_relative_to(tmp_path / "cache" / "yoyak" / "models")
        assert (folder / "model.safetensors").read_bytes() == (tiny_bart / "model.safetensors").read_bytes()
    [stored] = [path for path in tmp_path.rglob("model.safetensors") if model_id in str(path.parent)]
    good = stored.read_bytes()
    stored.write_bytes(good[:-1])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other cache"))
    with pytest.raises(UserError, match=r"model\.safetensors is not the one that was logged: the artifact store was"):
        resolve_model("models:/yoyak@champion")
    assert not [path for path in (tmp_path / "other cache").rglob("*") if path.is_file()]
    stored.write_bytes(good)
    kept = resolve_model("models:/yoyak@champion") / "model.safetensors"
    kept.write_bytes(good[:-1])
    with pytest.raises(UserError, match=f"delete {tmp_path}/other cache/.*, and it is downloaded again"):
        resolve_model("models:/yoyak@champion")
    with pytest.raises(UserError, match=r"has no alias 'champoin' \(did you mean 'champion'\?\)"):
        resolve_model("models:/yoyak@champoin")
    assert client.connect().get_metric_history(run.run_id, "loss")[-1].step == 199
