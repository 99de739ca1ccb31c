"""The quick check of `register` and `release`: it says yes only where a full run would change nothing."""

import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE
from yoyak.registration.packaging import log_member
from yoyak.registry.check import (
    FINGERPRINT,
    RELEASE,
    is_registered,
    is_released,
    registration_fingerprint,
    release_fingerprint,
    remember,
    was_registered_last,
)
from yoyak.tracking import runs
from yoyak.tracking.registered import Registered, write_registered


@pytest.fixture
def registered(store, tiny_bart):
    """The client of a store with a version that was registered from ``f1``, which is remembered."""
    with runs.stage_run("train", member="bart", params={"seed": 1}, inputs={}) as run:
        model_id = log_member(run, tiny_bart, example=DIALOGUE)
    store.create_registered_model("yoyak")
    store.create_model_version(
        "yoyak", f"models:/{model_id}", run.run_id, tags={FINGERPRINT: "f1", RELEASE: "r1"}, model_id=model_id
    )
    remember(FINGERPRINT, "f1")
    return store


def test_a_result_that_was_registered_is_known_until_the_store_is_written_to(registered):
    assert is_registered("f1")
    assert not is_registered("f2")
    assert not is_registered("f1", name="other")
    assert not is_released("f1")
    registered.set_registered_model_alias("yoyak", "champion", "1")
    assert not is_registered("f1"), "somebody has moved an alias"
    remember(FINGERPRINT, "f1")
    assert is_registered("f1")
    with runs.stage_run("train", member="t5", params={"seed": 1}, inputs={}):
        pass
    assert not is_registered("f1"), "in doubt it is no"
    remember(FINGERPRINT, "f1")
    registered.delete_model_version("yoyak", "1")
    assert not is_registered("f1")
    remember(FINGERPRINT, "f1")
    assert not is_registered("f1"), "only what the registry has is remembered"


def test_reading_the_store_does_not_make_it_look_changed(registered):
    registered.search_runs(["1"])
    registered.search_model_versions("name = 'yoyak'")
    registered.get_registered_model("yoyak")
    assert is_registered("f1")


def test_a_release_is_remembered_beside_a_registration(registered):
    remember(RELEASE, "r1")
    assert is_registered("f1")
    assert not is_released("r1"), "nothing is served"
    registered.set_registered_model_alias("yoyak", "serving", "1")
    registered.set_registered_model_tag("yoyak", RELEASE, "r1")
    remember(RELEASE, "r1")
    assert is_released("r1")
    assert is_registered("f1"), "a release of ours is no reason to register in full again"
    registered.set_registered_model_tag("yoyak", RELEASE, "r2")
    remember(FINGERPRINT, "f1")
    assert not is_released("r1"), "another one was released since"


def test_files_that_are_gone_have_to_be_made_again(registered):
    shutil.move("mlruns", "gone")
    assert not is_registered("f1")
    shutil.move("gone", "mlruns")
    assert is_registered("f1")


def test_another_file_in_the_place_of_the_store_is_noticed(registered, project):
    shutil.copy2("mlflow.db", "copy.db")
    Path("copy.db").replace("mlflow.db")
    assert not is_registered("f1")


@pytest.mark.parametrize("kind", ["journal", "wal"])
def test_a_write_that_has_not_ended_is_doubt(registered, project, kind):
    file = project / f"mlflow.db-{kind}"
    file.touch()
    assert not is_registered("f1")
    remember(FINGERPRINT, "f1")
    file.unlink()
    assert is_registered("f1")


def test_a_store_with_a_write_ahead_log_is_never_remembered(registered, project):
    connection = sqlite3.connect(project / "mlflow.db")
    connection.execute("PRAGMA journal_mode = WAL").fetchone()
    connection.close()
    remember(FINGERPRINT, "f1")
    assert not is_registered("f1")


@pytest.mark.parametrize("text", ["[", "[]", "{}", json.dumps({FINGERPRINT: {"fingerprint": "f1"}})])
def test_a_damaged_memory_is_doubt(registered, project, text):
    [memory] = (project / ".yoyak").glob("*.json")
    memory.write_text(text, encoding="utf-8")
    assert not is_registered("f1")
    remember(FINGERPRINT, "f1")
    assert is_registered("f1")


def test_the_quick_check_says_no_where_it_cannot_tell(project, monkeypatch):
    assert not is_registered("f1"), "there is no file"
    assert not (project / "mlflow.db").exists()
    sqlite3.connect(project / "mlflow.db").close()
    assert not is_registered("f1")
    (project / "mlflow.db").write_text("no database" * 100)
    assert not is_registered("f1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert not is_registered("f1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+psycopg2://127.0.0.1:9/mlflow")
    assert not is_registered("f1")


def test_another_result_that_was_registered_since_is_noticed(project):
    assert not was_registered_last("f1")
    registered = Registered(registered=(), decision="", tracking_uri="", fingerprint="f1")
    write_registered(registered)
    assert was_registered_last("f1")
    write_registered(replace(registered, fingerprint="f2"))
    assert not was_registered_last("f1")
    for text in ("[", "[]", '{"fingerprint": "f1"}'):
        (project / "registry/registered.json").write_text(text, encoding="utf-8")
        assert not was_registered_last("f1")


def test_an_overridden_param_is_another_result(project, monkeypatch):
    before = registration_fingerprint(), release_fingerprint()
    assert before == (registration_fingerprint(), release_fingerprint())
    monkeypatch.setenv("YOYAK__REGISTRY__MIN_GAIN", "0")
    after = registration_fingerprint(), release_fingerprint()
    assert not set(before) & set(after)


def test_the_quick_check_imports_nothing_heavy():
    code = "import sys, yoyak.registry.check; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"mlflow", "torch", "transformers", "numpy", "pandas", "pydantic"} & set(done.stdout.split())
