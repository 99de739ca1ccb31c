import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlflow_helpers import DIALOGUE, git, make_bart
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.errors import UserError
from yoyak.registration.packaging import log_member
from yoyak.registry import promotion
from yoyak.registry.check import is_registered, was_registered_last
from yoyak.registry.resolve import resolve_model
from yoyak.tracking import client, lineage, restore, runs
from yoyak.tracking.registered import Registered, write_registered

RULES: dict[str, Any] = {"significance": 0.05, "samples": 500, "seed": 1}


@pytest.fixture
def train(store, tiny_bart):
    """A function that logs a training's run and model, and returns both ids."""

    def log(member="bart"):
        with runs.stage_run("train", member=member, params={"seed": 1}, inputs={}) as run:
            return run.run_id, log_member(run, tiny_bart, example=DIALOGUE)

    return log


def best(trained, gate=None, **tags):
    run_id, model_id = trained
    scores = {"dev": {"combined": 0.5}}
    return promotion.register_best(
        "yoyak", member="bart", model_id=model_id, run_id=run_id, scores=scores, tags=tags, gate=gate
    )


def judged(gain, noise=0.05):
    """Compare a challenger whose scores differ on each dialogue, by ``gain`` on average, with a champion."""
    random = np.random.default_rng(0)
    champion = random.uniform(0.3, 0.6, 100)
    differences = random.normal(0, noise, 100)
    return promotion.gate(champion + gain + differences - differences.mean(), champion, **RULES)


def aliases(store):
    return {alias: int(number) for alias, number in store.get_registered_model("yoyak").aliases.items()}


@pytest.mark.parametrize(
    ("gain", "passed"),
    [
        (0.05, True),
        (0.012, True),
        (0.004, False),
        (-0.004, False),
        (-0.05, False),
    ],
)
def test_the_gate_requires_a_significant_gain(gain, passed):
    """With a standard deviation of 0.05 on 100 dialogues, the standard error of the mean is 0.005."""
    result = judged(gain)
    assert result.passed is passed
    assert result.difference == pytest.approx(gain)
    assert result.low < gain < result.high
    assert (result.low > 0) is passed
    assert (result.n, result.significance) == (100, 0.05)


def test_the_gate_compares_dialogue_by_dialogue():
    """The same scores in another order have the same mean, but an interval that is wide."""
    random = np.random.default_rng(0)
    champion = random.uniform(0.3, 0.6, 100)
    assert promotion.gate(champion + 0.01, champion, **RULES).passed
    assert not promotion.gate(random.permutation(champion + 0.01), champion, **RULES).passed


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_model_never_beats_itself(scores):
    assert not promotion.gate(np.array(scores), np.array(scores), significance=0.05, samples=100, seed=0).passed


def test_a_member_gets_a_version_for_each_training_and_only_one(store, train):
    first, second = train(), train()
    for run_id, model_id in (first, first, second, second, first):
        version = promotion.register_member("yoyak-bart", model_id=model_id, run_id=run_id, tags={"a": "b"})
        assert version.model_id == model_id
    assert version.version == 1
    versions = store.search_model_versions("name = 'yoyak-bart'")
    assert {(int(mv.version), mv.run_id, mv.source) for mv in versions} == {
        (1, first[0], f"models:/{first[1]}"),
        (2, second[0], f"models:/{second[1]}"),
    }
    made = {key: value for key, value in versions[0].tags.items() if not key.startswith("alias.")}
    assert made == {"a": "b", "git.commit": git("rev-parse", "HEAD"), "git.dirty": "false"}
    links = store.get_logged_model(second[1]).tags["mlflow.modelVersions"]
    assert json.loads(links) == [{"name": "yoyak-bart", "version": 2}]


def test_the_champion_of_a_member_has_the_best_dev_score(store, train):
    def register(score):
        run_id, model_id = train()
        tags = {promotion.DEV_SCORE: str(score)}
        return promotion.register_member("yoyak-bart", model_id=model_id, run_id=run_id, tags=tags)

    def champion():
        return int(store.get_registered_model("yoyak-bart").aliases["champion"])

    assert register(0.5).aliases == ("champion",)
    assert register(0.4).aliases == ("challenger",)
    assert champion() == 1
    assert register(0.5).aliases == ("champion",)
    assert champion() == 3


def test_the_first_is_champion_and_a_later_one_stays_challenger(store, train):
    trained = train()
    first = best(trained, **{"input.data.dvc": "abc", "yoyak.fingerprint": "f1"})
    assert first.aliases == ("champion",)
    assert first.uri == "models:/yoyak/1"
    assert first.tags["score.dev.combined"] == "0.5"
    assert (first.tags["member"], first.tags["variant"], first.tags["input.data.dvc"]) == ("bart", "fp32", "abc")
    assert best(trained).aliases == ("champion",)
    assert best(train(), judged(0.0)).aliases == ("challenger",)
    third = best(train(), None)
    assert third.aliases == ("challenger",)
    assert aliases(store) == {"champion": 1, "challenger": 3}
    assert third.tags["alias.challenger.from"] == "2"


def test_a_better_model_is_promoted_with_its_figures_and_undone_by_one_call(store, train):
    first, second = train(), train()
    best(first)
    promoted = best(second, judged(0.05))
    assert promoted.aliases == ("champion",)
    assert aliases(store) == {"champion": 2, "previous": 1}
    tags = promoted.tags
    assert (tags["alias.champion.from"], tags["alias.champion.to"]) == ("1", "2")
    assert tags["alias.champion.who"] == lineage.current_user()
    assert tags["alias.champion.when"].endswith("+00:00")
    assert tags["alias.champion.commit"] == git("rev-parse", "HEAD")
    assert float(tags["alias.champion.gate.p_value"]) < 0.05
    assert float(tags["alias.champion.gate.difference"]) == judged(0.05).difference
    assert tags["alias.champion.gate.passed"] == "true"
    assert store.get_model_version("yoyak", "1").tags["alias.previous.to"] == "1"

    assert promotion.undo_promotion("yoyak").version == 1
    assert aliases(store) == {"champion": 1, "challenger": 2}
    assert best(second, judged(0.05)).aliases == ("challenger",), "what a person undid stays undone"
    with pytest.raises(UserError, match="Version 1 of yoyak"):
        promotion.undo_promotion("yoyak")
    assert promotion.promote("yoyak", 2).aliases == ("champion",)
    assert aliases(store) == {"champion": 2, "previous": 1}


def test_promotions_are_undone_one_after_the_other(store, train):
    for gain in (None, 0.05, 0.05):
        best(train(), None if gain is None else judged(gain))
    newer = best(train(), judged(0.0))
    assert aliases(store) == {"champion": 3, "previous": 2, "challenger": 4}
    assert promotion.undo_promotion("yoyak").version == 2
    assert aliases(store) == {"champion": 2, "previous": 1, "challenger": newer.version}
    assert promotion.undo_promotion("yoyak").version == 1
    assert aliases(store) == {"champion": 1, "challenger": newer.version}


def test_errors_name_the_nearest_name(store, train):
    best(train())
    with pytest.raises(UserError, match=r"'yoyack' \(did you mean 'yoyak'"):
        promotion.promote("yoyack", 1)
    with pytest.raises(UserError, match=r"no version '7' \(known: 1\)"):
        promotion.promote("yoyak", 7)
    with pytest.raises(UserError, match="Version 1 of yoyak"):
        promotion.promote("yoyak", 1)
    with pytest.raises(UserError, match=r"yoyack .*'yoyak'"):
        promotion.undo_promotion("yoyack")
    assert promotion.champion("yoyack") is None


def test_the_champion_s_predictions_are_those_of_the_same_dev_set(store, train, tmp_path):
    best(train())
    champion = promotion.champion("yoyak")
    assert champion
    assert promotion.champion_predictions(champion, "d" * 32) is None
    rows = [("dev_1", [Candidate("요약", -0.1), Candidate("다른", -0.2)]), ("dev_2", [Candidate("둘", -0.3)])]
    write_candidates(tmp_path / "dev.jsonl", rows)
    runs.attach_predictions(champion.run_id, tmp_path / "dev.jsonl", "d" * 32)
    assert promotion.champion_predictions(champion, "d" * 32) == {"dev_1": "요약", "dev_2": "둘"}
    assert promotion.champion_predictions(champion, "e" * 32) is None
    shutil.rmtree("mlruns")
    assert promotion.champion_predictions(champion, "d" * 32) is None


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


def test_the_quick_check_knows_the_fingerprint_of_an_existing_version(store, project, train):
    assert not is_registered("f1")
    best(train(), **{promotion.FINGERPRINT: "f1"})
    assert is_registered("f1")
    assert not is_registered("f2")
    assert not is_registered("f1", name="other")
    shutil.move("mlruns", "gone")
    assert not is_registered("f1"), "files that are gone have to be made again"
    shutil.move("gone", "mlruns")
    assert is_registered("f1")
    store.delete_model_version("yoyak", "1")
    assert not is_registered("f1")


def test_a_result_registered_since_is_noticed(project):
    assert not was_registered_last("f1")
    registered = Registered(registered=(), decision="", tracking_uri="", fingerprint="f1")
    write_registered(registered)
    assert was_registered_last("f1")
    write_registered(replace(registered, fingerprint="f2"))
    assert not was_registered_last("f1")
    for text in ("[", "[]", '{"fingerprint": "f1"}'):
        (project / "registry/registered.json").write_text(text, encoding="utf-8")
        assert not was_registered_last("f1")


def test_the_quick_check_fails_if_it_cannot_tell(project, monkeypatch):
    assert not is_registered("f1"), "there is no file"
    assert not (project / "mlflow.db").exists()
    sqlite3.connect(project / "mlflow.db").close()
    assert not is_registered("f1")
    (project / "mlflow.db").write_text("no database" * 100)
    assert not is_registered("f1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert not is_registered("f1")


def test_the_quick_check_imports_nothing_heavy():
    code = "import sys, yoyak.registry.check; print(*sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"mlflow", "torch", "transformers", "numpy", "pandas", "pydantic"} & set(completed.stdout.split())


def test_a_deleted_store_is_rebuilt_from_the_receipt(store, project, empty_store, tiny_bart, train, monkeypatch):
    """Train, register, train a better one, undo; then lose mlflow.db and restore what DVC's cache would give back."""
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={"prepared": "p" * 32}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
        receipt = run.receipt("bart", {"prepared": "p" * 32})
    lineage.write_receipt(project / "receipts" / "bart.json", receipt)
    (project / "curves.csv").write_text("step,loss,eval_loss\n1,3.0,\n2,2.0,2.5\n")
    metrics = {"train_loss": 2.0, "seconds": 12.5, "steps": 2, "device": "cuda: H100"}
    for _ in range(2):
        assert best((run.run_id, model_id)).version == 1
    better = make_bart(project / "models" / "bart", seed=2)
    with runs.stage_run("train", member="bart", params={"seed": 2}, inputs={}) as second:
        later = (second.run_id, log_member(second, better, example=DIALOGUE))
    assert best(later, judged(0.0)).aliases == ("challenger",)
    assert best(later, judged(0.05)).aliases == ("champion",)
    assert promotion.undo_promotion("yoyak").version == 1

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
    with restore.restore_run(receipt, params=params, metrics=metrics, curves="curves.csv") as rebuilt:
        new_model = log_member(rebuilt, tiny_bart, example=DIALOGUE)
    training_run = restore.find_training_run(receipt)
    assert training_run == restore.TrainingRun(run_id=rebuilt.run_id, restored=True)
    restored = store.get_run(rebuilt.run_id)
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
    assert [(m.step, m.value) for m in store.get_metric_history(rebuilt.run_id, "loss")] == [(1, 3.0), (2, 2.0)]
    assert restored.data.metrics["train_loss"] == 2.0
    assert best((training_run.run_id, new_model)).aliases == ("champion",)


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
