"""dvc.yaml and export/dvc.yaml say of each stage exactly the params that its code reads: no more, no less."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from ruamel.yaml import YAML

from pipeline.conftest import ROOT, shrink
from yoyak import params
from yoyak.data.samples import write_corpus
from yoyak.tracking import client as tracking_client
from yoyak.tracking import runs

PIPELINES = [YAML(typ="safe").load(ROOT / name)["stages"] for name in ("dvc.yaml", "export/dvc.yaml")]
DVC = {name: node for stages in PIPELINES for name, node in stages.items()}
MEMBER = "bart"
KEYS = {"ensemble": ["mbr"], "blend": ["soft", "soup"]}
"""By stage: the entries of its foreach, where those are no members."""


class Recorded(SimpleNamespace):
    """What a stage was given; it notes which sections are taken from it."""

    taken: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        values = object.__getattribute__(self, "__dict__")
        # vars() takes everything: that is what a run's params are logged from.
        Recorded.taken.update(values if name == "__dict__" else {name} & set(values))
        return super().__getattribute__(name)


def declared(stage: str, key: str) -> set[str]:
    node = DVC[stage]
    return {name.replace("${key}", key) for name in node.get("do", node).get("params", [])}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("params")
    yaml = YAML()
    tree = yaml.load((ROOT / "params.yaml").read_text())
    shrink(tree)
    tree["members"] = {MEMBER: tree["members"][MEMBER]}
    tree["ensemble"]["min_members"] = 1
    tree["ensemble"]["strategies"] = {"mbr": {"type": "mbr"}}
    tree["ensemble"]["models"] = {name: {"type": name, "members": [MEMBER]} for name in KEYS["blend"]}
    tree["registry"]["ensemble"] = "mbr"
    with (folder / "params.yaml").open("w") as out:
        yaml.dump(tree, out)
    write_corpus(folder / "data", train=20, dev=4, test=5, seed=1)
    (folder / "data/handwritten.csv").write_bytes((folder / "data/dev.csv").read_bytes())
    return folder


@pytest.mark.slow
def test_params_are_those_that_are_read(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    monkeypatch.setattr(tracking_client, "_clients", {})
    monkeypatch.setattr(runs, "_given", [])
    read = params.read
    asked: set[str] = set()

    def recording(*sections: str, **kwargs: Any) -> Any:
        asked.update(sections)
        return Recorded(**vars(read(*sections, **kwargs)))

    monkeypatch.setattr(params, "read", recording)
    for stage, node in DVC.items():
        run = importlib.import_module(f"yoyak.stages.{stage}").run
        for key in KEYS.get(stage, [MEMBER]):
            asked.clear()
            Recorded.taken.clear()
            run(*([key] if "foreach" in node else []))
            assert asked == declared(stage, key), stage
            assert Recorded.taken == {name.partition(".")[0] for name in asked}, stage


def test_every_stage_has_a_file_and_every_path_exists() -> None:
    for name, node in DVC.items():
        body = node.get("do", node)
        assert (ROOT / f"src/yoyak/stages/{name}.py").is_file()
        for path in body["deps"]:
            if path.startswith("src/"):
                assert (ROOT / path).exists(), path
