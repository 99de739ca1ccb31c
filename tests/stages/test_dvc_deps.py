"""dvc.yaml and export/dvc.yaml name, for each stage, the code that can change its result: whole rooms, no more."""

from __future__ import annotations

from pathlib import PurePosixPath

import grimp
import pytest
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.conftest import ROOT

PIPELINES = [YAML(typ="safe").load(ROOT / name)["stages"] for name in ("dvc.yaml", "export/dvc.yaml")]
STAGES = {name: node.get("do", node) for pipeline in PIPELINES for name, node in pipeline.items()}
EXEMPT = {
    "errors": "only words",
    "process": "how a process ends, and what memory it takes",
    "project": "where files are; a path that changes is in dvc.yaml too",
    "tracking": "what is told to MLflow",
    "reporting": "pages and charts; the report stage depends on it",
    "stages.arguments": "how the command line is read",
}
"""By module or room: why a change to it cannot change what a stage writes."""
OWN_SUBJECT = {"report": "reporting"}
LIBRARIES = {
    "prepare", "train", "predict", "score_candidates", "ensemble", "blend", "evaluate", "behaviour", "export", "bench"
}  # fmt: skip
"""Stages whose results depend on the versions of libraries."""


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    """Every import of the package, also those inside of functions."""
    return grimp.build_graph("yoyak")


def code_of(stage: str, imports: grimp.ImportGraph) -> set[str]:
    """Return the rooms, root modules and the file of a stage that it reaches by imports that are not exempt."""
    exempt = {name for name in EXEMPT if name != OWN_SUBJECT.get(stage)}
    modules, pending = set(), [f"yoyak.stages.{stage}"]
    while pending:
        module = pending.pop()
        path = module.removeprefix("yoyak").removeprefix(".")
        room = path.partition(".")[0]
        if module in modules or not path or {path, room} & exempt:
            continue
        modules.add(module)
        pending += imports.find_modules_directly_imported_by(module)
    return {dependency_on(module) for module in modules}


def dependency_on(module: str) -> str:
    """Return what dvc.yaml calls a module: its room, or its file where it is in the root or is a stage."""
    parts = PurePosixPath("src", *module.split("."))
    if parts.parts[2] == "stages":
        return f"{parts}.py"
    room = PurePosixPath(*parts.parts[:3])
    return str(room) if (ROOT / room).is_dir() else f"{room}.py"


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_of_a_stage_is_what_it_imports(stage: str, imports: grimp.ImportGraph) -> None:
    declared = {path for path in STAGES[stage]["deps"] if path.startswith("src/")}
    imported = code_of(stage, imports)
    assert sorted(imported - declared) == [], f"add these to the deps of {stage}"
    assert sorted(declared - imported) == [], f"remove these from the deps of {stage}"


@pytest.mark.parametrize("stage", STAGES)
def test_stages_that_libraries_decide_depend_on_their_versions(stage: str) -> None:
    assert ("requirements.lock" in STAGES[stage]["deps"]) is (stage in LIBRARIES)


def test_the_import_graph_includes_imports_inside_functions(imports: grimp.ImportGraph) -> None:
    assert "src/yoyak/training" in code_of("train", imports)


@pytest.mark.parametrize("stage", STAGES)
def test_data_is_named_narrowly(stage: str) -> None:
    if stage in {"register", "report"}:  # They show or register all of it, and take seconds.
        return
    assert "prepared" not in STAGES[stage]["deps"]


@pytest.mark.parametrize("file", ["dvc.yaml", "export/dvc.yaml"])
def test_the_reference_result_has_each_stage(file: str) -> None:
    with Repo(ROOT) as repo:
        stages = {stage.name for stage in repo.stage.collect() if stage.path_in_repo == file}
    locked = YAML(typ="safe").load((ROOT / file).with_suffix(".lock"))["stages"]
    assert locked.keys() == stages
