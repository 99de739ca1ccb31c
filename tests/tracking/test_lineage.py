import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from mlflow_helpers import git
from yoyak import process
from yoyak.errors import UserError
from yoyak.project import project_root
from yoyak.tracking import lineage
from yoyak.tracking.uri import sqlite_file, tracking_uri


def test_digests_equal_those_of_dvc(project):
    (project / "data" / "하위").mkdir(parents=True)
    (project / "data" / "b.csv").write_bytes(b"fname,dialogue\r\n1,x\r\n")
    (project / "data" / "하위" / "a.csv").write_text("한국어", encoding="utf-8")
    (project / "one.txt").write_text("하나", encoding="utf-8")
    dvc = [sys.executable, "-m", "dvc"]
    (project / "data.dvc").unlink()
    subprocess.run([*dvc, "init", "-q"], check=True)
    subprocess.run([*dvc, "add", "-q", "data", "one.txt"], check=True)
    for name in ("data", "one.txt"):
        assert f"md5: {lineage.digest(name)}\n" in (project / f"{name}.dvc").read_text()
    assert len(lineage.digest("data")) == 36
    assert lineage.digests(["one.txt"]) == {"one.txt": lineage.digest("one.txt")}


def test_a_missing_input_gives_one_sentence(project):
    with pytest.raises(UserError, match=r"^prepared is missing: `dvc repro` creates it"):
        lineage.digest("prepared")


def test_receipts_are_read_back_and_damaged_ones_are_errors(tmp_path):
    receipt = lineage.Receipt(run_id="r", member="bart", inputs={"a": "b"}, experiment="yoyak", started=5)
    lineage.write_receipt(tmp_path / "receipts" / "bart.json", receipt)
    assert lineage.read_receipt(tmp_path / "receipts" / "bart.json") == receipt
    value = json.loads((tmp_path / "receipts" / "bart.json").read_text())
    del value["started"]
    (tmp_path / "old.json").write_text(json.dumps(value))
    assert lineage.read_receipt(tmp_path / "old.json").started == 0
    with pytest.raises(UserError, match=r"t5\.json is missing"):
        lineage.read_receipt(tmp_path / "t5.json")
    (tmp_path / "t5.json").write_text('{"run_id": 1')
    with pytest.raises(UserError, match=r"t5\.json is not"):
        lineage.read_receipt(tmp_path / "t5.json")


def test_dirty_means_the_code_and_not_what_the_pipeline_writes(project):
    (project / "metrics").mkdir()
    (project / "metrics" / "학습.json").write_text("{}")
    (project / "dvc.lock").write_text(
        "stages:\n  train@bart:\n    outs:\n    - path: metrics/학습.json\n      md5: x\n"
    )
    git("add", ".")
    git("commit", "-q", "-m", "second")
    state = lineage.git()
    assert state == lineage.Git(commit=git("rev-parse", "HEAD"), dirty=False)
    (project / "metrics" / "학습.json").write_text('{"a": 1}')
    (project / "dvc.lock").write_text((project / "dvc.lock").read_text() + "# more\n")
    (project / "untracked.txt").write_text("")
    assert not lineage.git().dirty
    (project / "params.yaml").write_text("seed: 21\n")
    assert lineage.git().dirty


def test_what_a_pipeline_in_a_subfolder_writes_is_not_dirty_either(project):
    """Its paths are relative to the working directory of the stage, as in export/dvc.yaml."""
    (project / "export").mkdir()
    (project / "export/dvc.yaml").write_text(
        "stages:\n  bench:\n    cmd: a\n    wdir: ..\n  own:\n    foreach: ${members}\n    do:\n      cmd: b\n"
    )
    (project / "export/dvc.lock").write_text(
        "stages:\n  bench:\n    outs:\n    - path: metrics/bench.json\n  own@x:\n    outs:\n    - path: own.json\n"
    )
    outputs = [project / "metrics/bench.json", project / "export/own.json", project / "export/dvc.lock"]
    (project / "metrics").mkdir()
    for path in outputs[:2]:
        path.write_text("{}")
    git("add", ".")
    git("commit", "-q", "-m", "second")
    for path in outputs:
        path.write_text(path.read_text() + "\n")
    assert not lineage.git().dirty
    (project / "export/dvc.yaml").write_text("stages: {}\n")
    assert lineage.git().dirty


def test_outside_of_a_repository_there_is_no_commit(tmp_path):
    assert lineage.git(tmp_path) == lineage.Git(commit="", dirty=False)


def test_the_pipeline_key_changes_with_each_of_its_parts(project, monkeypatch):
    keys = [lineage.pipeline_key("a")]
    keys.append(lineage.pipeline_key("b"))
    monkeypatch.setenv("DVC_EXP_NAME", "wise-owl")
    keys.append(lineage.pipeline_key("b"))
    (project / "params.yaml").write_text("seed: 21\n")
    keys.append(lineage.pipeline_key("b"))
    (project / "data.dvc").write_text("outs:\n- md5: ffff\n  path: data\n")
    keys.append(lineage.pipeline_key("b"))
    assert len(set(keys)) == len(keys)
    assert lineage.pipeline_key("b") == keys[-1]


def test_device_and_versions_do_not_import_torch(project):
    code = (
        "import sys; from yoyak.tracking.lineage import *; print(device(), versions()); print('torch' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.startswith("cpu {'python': '3.11.")
    assert "'torch': '2." in printed
    assert printed.endswith("False\n")


def test_only_a_process_of_this_machine_that_ended_is_gone():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert process.is_gone(f"{socket.gethostname()}:{child.pid}")
    assert not process.is_gone(process.process_name())
    assert not process.is_gone(f"elsewhere:{child.pid}")
    assert not process.is_gone("")


def test_the_default_store_is_in_the_project_from_any_folder_of_it(project, monkeypatch):
    (project / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(project / "deep" / "er")
    assert project_root() == project
    assert tracking_uri() == f"sqlite:///{project}/mlflow.db"
    assert sqlite_file(tracking_uri()) == project / "mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:5000")
    assert tracking_uri() == "http://localhost:5000"
    assert sqlite_file(tracking_uri()) is None
    assert sqlite_file("sqlite:///:memory:") is None


def test_a_temporary_dvc_experiment_writes_to_its_project(project, monkeypatch):
    copy = project / ".dvc" / "tmp" / "exps" / "tmpabc"
    copy.mkdir(parents=True)
    (copy / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(copy)
    assert project_root() == project


def test_lineage_and_the_uri_import_nothing_heavy():
    code = "import sys; import yoyak.tracking.lineage, yoyak.tracking.runs, yoyak.registry.check; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert not {"mlflow", "torch", "transformers", "pandas", "sqlalchemy"} & set(modules)
    assert Path(os.__file__).stem in modules


def test_code_is_what_it_does(tmp_path: Path) -> None:
    def digest(text: str) -> str:
        (tmp_path / "a.py").write_text(text)
        return lineage.source_digest(tmp_path, [Path("a.py")])

    code = digest('"""About."""\ndef add(a, b):\n    """Add."""\n    return a + b\n')
    assert digest("# Better words.\ndef add(a, b):\n    '''Add two numbers.'''\n\n    return (a + b)\n") == code
    assert digest("def add(a, b):\n    return a - b\n") != code
    assert digest("def add(a, c):\n    return a + c\n") != code
