import shutil
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE
from yoyak.errors import UserError
from yoyak.models.manifest import MANIFEST, write_manifest
from yoyak.registration.packaging import log_member
from yoyak.registry import promotion
from yoyak.registry.resolve import resolve_model
from yoyak.serving.target import open_target
from yoyak.tracking import client, lineage, restore, runs


@pytest.fixture
def train(store, tiny_bart):
    """A function that logs a training's run and model, and returns both ids."""

    def log(member="bart"):
        with runs.stage_run("train", member=member, params={"seed": 1}, inputs={}) as run:
            return run.run_id, log_member(run, tiny_bart, example=DIALOGUE)

    return log


def best(trained, **tags):
    run_id, model_id = trained
    version = promotion.register_version("yoyak", model_id=model_id, run_id=run_id, tags=tags)
    return promotion.settle_candidate(version, None, seen=0)


def test_every_name_of_a_model_leads_to_its_hugging_face_folder(store, train, tiny_bart):
    run_id, model_id = train()
    best((run_id, model_id))
    inside = Path(store.get_logged_model(model_id).artifact_location)
    names = ["yoyak@champion", "yoyak/1", model_id]
    for uri in (*(f"models:/{name}" for name in names), f"runs:/{run_id}/bart", f"runs:/{run_id}", str(inside)):
        folder = resolve_model(uri)
        assert folder.parent.parent == inside
        assert (folder / "model.safetensors").read_bytes() == (tiny_bart / "model.safetensors").read_bytes()
        assert (folder / "yoyak.json").is_file()
    assert resolve_model(str(tiny_bart)) == tiny_bart


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/yoyack@champion", r"'yoyack' \(did you mean 'yoyak'"),
        ("models:/yoyack/1", r"'yoyack' \(did you mean 'yoyak'"),
        ("models:/yoyack", r"models:/yoyack \(did you mean 'yoyak'"),
        ("models:/yoyak@champoin", r"'champoin' \(did you mean 'champion'"),
        ("models:/yoyak/7", r"'7' \(known: 1\)"),
        ("models:/yoyak/x", r"'x' \(known: 1\)"),
        ("models:/yoyak", "models:/yoyak needs "),
        ("models:/m-00000000000000000000000000000000", "id 'm-0+'"),
        ("runs:/00000000000000000000000000000000/bart", "run '0+'"),
        ("nowhere", "'nowhere'"),
        (".", r"'\.'.* config\.json nor MLmodel"),
    ],
)
def test_a_model_that_does_not_exist_is_named_with_the_nearest(train, uri, message):
    best(train())
    with pytest.raises(UserError, match=message):
        resolve_model(uri)


def test_a_run_without_that_model_and_missing_files_are_errors(store, train):
    run_id, model_id = train()
    with pytest.raises(UserError, match=r"'brat' \(did you mean 'bart'"):
        resolve_model(f"runs:/{run_id}/brat")
    shutil.rmtree("mlruns")
    with pytest.raises(UserError, match="mlruns"):
        resolve_model(f"models:/{model_id}")


def test_a_model_whose_files_have_changed_is_not_used(store, train):
    run_id, model_id = train()
    best((run_id, model_id))
    root = Path(store.get_logged_model(model_id).artifact_location)
    weights = root / "artifacts/bart/model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    problem = r"the file artifacts/bart/model\.safetensors is not the one that was logged: .*\."
    for name in ("yoyak@champion", "yoyak/1", model_id):
        with pytest.raises(UserError, match=f"^models:/{name}: {problem}$"):
            resolve_model(f"models:/{name}")
    with pytest.raises(UserError, match=problem):
        resolve_model(str(root))
    with pytest.raises(UserError, match=problem), open_target("models:/yoyak@champion"):
        pass
    # Who changes the files changes the list of them too; what MLflow's database has of it is elsewhere.
    write_manifest(root)
    with pytest.raises(UserError, match=r"models:/yoyak/1: files\.sha256, .* is not what was logged: "):
        resolve_model("models:/yoyak/1")
    (root / MANIFEST).unlink()
    with pytest.raises(UserError, match=r"has no files\.sha256"):
        resolve_model("models:/yoyak/1")
    weights.write_bytes(good)
    write_manifest(root)
    assert resolve_model("models:/yoyak/1") == weights.parent


def test_a_deleted_store_is_rebuilt_from_the_receipt(store, project, empty_store, tiny_bart, train, monkeypatch):
    """Train and register; then lose mlflow.db and restore what DVC's cache would give back."""
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={"prepared": "p" * 32}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
        receipt = run.receipt("bart", {"prepared": "p" * 32})
    lineage.write_receipt(project / "receipts" / "bart.json", receipt)
    (project / "curves.csv").write_text("step,loss,eval_loss\n1,3.0,\n2,2.0,2.5\n")
    metrics = {"train_loss": 2.0, "seconds": 12.5, "steps": 2, "device": "cuda: H100"}
    for _ in range(2):
        assert best((run.run_id, model_id)).version == 1
    receipt = lineage.read_receipt(project / "receipts" / "bart.json")
    assert restore.find_training_run(receipt) == restore.TrainingRun(run_id=run.run_id, restored=False)
    # This process still holds the deleted file open, so the new store has another name.
    (project / "mlflow.db").unlink()
    shutil.rmtree("mlruns")
    shutil.copy(empty_store, project / "new.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/new.db")
    store = client.connect()
    assert restore.find_training_run(receipt) is None
    params = {"members": {"bart": {"learning_rate": 1e-3}}, "seed": 1}
    with restore.restore_run(receipt, params=params, metrics=metrics, curves="curves.csv") as again:
        new_model = log_member(again, tiny_bart, example=DIALOGUE)
    found = restore.find_training_run(receipt)
    assert found == restore.TrainingRun(run_id=again.run_id, restored=True)
    restored = store.get_run(again.run_id)
    assert restored.info.run_name == "train bart"
    assert restored.info.start_time == receipt.started
    assert restored.info.end_time == receipt.started + 12_500
    assert restored.info.status == "FINISHED"
    assert restored.data.tags["restored"] == "true"
    assert restored.data.tags["restored.run_id"] == run.run_id
    assert restored.data.tags["restored.start"].startswith("20")
    assert restored.data.tags["device"] == "cuda: H100"
    assert restored.data.tags["input.prepared"] == "p" * 32
    assert restored.data.params["members.bart.learning_rate"] == "0.001"
    assert [(m.step, m.value) for m in store.get_metric_history(again.run_id, "loss")] == [(1, 3.0), (2, 2.0)]
    assert restored.data.metrics["train_loss"] == 2.0
    assert best((found.run_id, new_model)).aliases == ("champion",)


def test_a_model_that_has_lost_its_files_is_known(store, train):
    _, model_id = train()
    assert restore.has_files(store, model_id)
    assert not restore.has_files(store, "m-" + "0" * 32)
    assert not restore.has_files(store, "")
    shutil.rmtree("mlruns")
    assert not restore.has_files(store, model_id)


def test_a_deleted_run_counts_as_missing(store, train):
    run_id, _ = train()
    receipt = lineage.Receipt(run_id=run_id, member="bart", inputs={}, experiment="yoyak")
    assert restore.find_training_run(receipt) is not None
    store.delete_run(run_id)
    assert restore.find_training_run(receipt) is None
