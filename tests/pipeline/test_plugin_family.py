"""A family without weights that another package adds: its members walk through the whole pipeline."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mlflow import MlflowClient

from pipeline import lead_family
from pipeline.conftest import edit, environment, make_project, shell, succeed
from preloaded import preloaded
from yoyak.data.records import read_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.ensemble.splits import read_choices

pytestmark = pytest.mark.slow


class Project(NamedTuple):
    """A project, and the environment in which the package with the family is installed."""

    folder: Path
    variables: dict[str, str]

    def succeed(self, *command: str) -> str:
        return succeed(self.folder, *command, **self.variables)

    def refuse(self, *command: str) -> str:
        done = shell(self.folder, *command, **self.variables)
        assert done.returncode == 1
        return done.stderr


def install_package(folder: Path) -> None:
    """Write what pip would: the module, and the entry point that declares its family."""
    info = folder / "lead_family-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lead_family\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[yoyak.families]\nlead = lead_family:Lead\n")
    shutil.copy(lead_family.__file__, folder / "lead_family.py")


def use_two_members(tree: dict[str, Any]) -> None:
    """Keep one member that is trained, and add one that is not."""
    tree["members"] = {"bart": tree["members"]["bart"], "opening": {"family": "lead", "turns": 2}}
    tree["ensemble"]["strategies"] = {"vote": {"type": "vote"}}
    tree["ensemble"]["models"] = {}
    tree["registry"]["ensemble"] = "vote"


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    folder, packages = tmp_path_factory.mktemp("project"), tmp_path_factory.mktemp("packages")
    install_package(packages)
    path = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
    make_project(folder)
    edit(folder, use_two_members)
    succeed(folder, "git", "commit", "-aqm", "two members")
    with preloaded({**environment(), "PYTHONPATH": path}) as fast_path:
        project = Project(folder, {"PYTHONPATH": path, "PATH": fast_path})
        project.succeed("dvc", "repro")
        yield project


def lead(dialogue: str) -> str:
    return " ".join(dialogue.splitlines()[:2])


def test_it_is_predicted_combined_and_evaluated(reproduced: Project) -> None:
    folder = reproduced.folder
    rows = read_jsonl(folder / "prepared/eval/test.jsonl")
    candidates = read_candidates(folder / "predictions/opening/test.jsonl")
    assert {fname: nbest[0].text for fname, nbest in candidates.items()} == {
        row.fname: lead(row.dialogue) for row in rows
    }
    assert [*read_choices(folder / "ensembles/vote/test.jsonl")] == [row.fname for row in rows]
    assert json.loads((folder / "ensembles/vote/info.json").read_text())["members"] == ["bart", "opening"]
    systems = {
        row["name"]: row["kind"] for row in json.loads((folder / "evaluation/summary.json").read_text())["systems"]
    }
    assert systems["opening"] == "member"


def test_dvc_and_the_report_show_it(reproduced: Project) -> None:
    shown = reproduced.succeed("dvc", "metrics", "show")
    assert all(name in shown for name in ("train_bart.json", "scores/opening.json"))
    reproduced.succeed("dvc", "plots", "show", "--json")
    assert "opening" in (reproduced.folder / "report/report.md").read_text()


def test_it_is_registered_alone_and_in_the_ensemble(reproduced: Project) -> None:
    folder = reproduced.folder
    store = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    version = store.get_model_version_by_alias("yoyak-opening", "champion")
    run = store.get_run(str(version.run_id))
    assert (run.info.status, run.data.params["members.opening.turns"]) == ("FINISHED", "2")
    ensemble = store.get_model_version_by_alias("yoyak", "ensemble")
    assert {ensemble.tags["member.bart"], ensemble.tags["member.opening"]} == {"yoyak-bart/1", "yoyak-opening/1"}
    kept = f"evaluations/{str(ensemble.source).removeprefix('models:/')}"
    files = [file.path for file in store.list_artifacts(str(ensemble.run_id), kept)]
    assert f"{kept}/trained_on.txt" in files, "the gate can judge it"
    code = (
        "import json, mlflow, pandas;"
        "rows = pandas.DataFrame({'dialogue': ['a: b\\nc: d\\ne: f']});"
        "uris = ['models:/yoyak-opening@champion', 'models:/yoyak@ensemble'];"
        "print(json.dumps([mlflow.pyfunc.load_model(uri).predict(rows)['summary'][0] for uri in uris]))"
    )
    variables = {**reproduced.variables, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    done = shell(folder, "python", "-c", code, **variables)
    assert done.returncode == 0, done.stderr
    alone, combined = json.loads(done.stdout.splitlines()[-1])
    assert alone == "a: b c: d"
    assert combined


def test_a_lost_run_is_restored(reproduced: Project, tmp_path: Path) -> None:
    copy = Project(Path(shutil.copytree(reproduced.folder, tmp_path / "copy", symlinks=True)), reproduced.variables)
    (copy.folder / "mlflow.db").unlink()
    assert "yoyak-opening version 1 (champion) restored" in copy.succeed("yoyak", "register")


def test_its_params_concern_only_it(reproduced: Project) -> None:
    try:
        edit(reproduced.folder, lambda tree: tree["members"]["opening"].update(turns=1))
        status = json.loads(reproduced.succeed("dvc", "status", "--json"))
        assert {name for name in status if name.startswith(("base@", "train@"))} == {"base@opening", "train@opening"}
        edit(reproduced.folder, lambda tree: tree["members"]["opening"].update(turn=1))
        assert "members.opening has no key 'turn' (did you mean 'turns'?)" in reproduced.refuse(
            "yoyak", "train", "opening"
        )
    finally:
        edit(reproduced.folder, use_two_members_again)


def use_two_members_again(tree: dict[str, Any]) -> None:
    tree["members"]["opening"] = {"family": "lead", "turns": 2}


def test_nothing_is_trained(reproduced: Project) -> None:
    code = "import sys; from yoyak.stages import train; train.run('opening'); assert 'torch' not in sys.modules"
    reproduced.succeed(sys.executable, "-c", code)


def test_what_needs_weights_names_it(reproduced: Project) -> None:
    blended = {"type": "soft", "members": ["bart", "opening"]}
    edit(reproduced.folder, lambda tree: tree["ensemble"].update(models={"soft": blended}))
    edit(reproduced.folder, lambda tree: tree["export"].update(model="opening"))
    no_weights = r"is of family 'lead', which has no weights .*: choose a member that is trained\."
    assert re.search(rf"ensemble\.models\.soft: opening {no_weights}", reproduced.refuse("yoyak", "blend", "soft"))
    assert re.search(rf"export\.model: opening {no_weights}", reproduced.refuse("yoyak", "export"))
