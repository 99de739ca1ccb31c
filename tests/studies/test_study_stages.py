"""studies/dvc.yaml: one stage for each study file, which depends on the code that a study runs."""

from __future__ import annotations

from pathlib import PurePosixPath

import grimp
from dvc.repo import Repo
from ruamel.yaml import YAML

from pipeline.conftest import ROOT
from stages.test_dvc_deps import EXEMPT, dependency_on
from yoyak.params import Params
from yoyak.params.overrides import read_yaml
from yoyak.params.study_files import load_study
from yoyak.studies.kinds import open_kind
from yoyak.studies.training import Trained

STAGES = YAML(typ="safe").load(ROOT / "studies/dvc.yaml")["stages"]
KEPT = read_yaml(ROOT / "params.yaml")["ensemble"]["members"]
STAGE_OF = {
    item: name
    for name, stage in STAGES.items()
    for item in (KEPT if stage["foreach"] == "${ensemble.members}" else stage["foreach"])
}


def test_every_study_has_a_stage() -> None:
    files = [path.stem for path in (ROOT / "studies").glob("*.yaml") if path.name != "dvc.yaml"]
    assert sorted(STAGE_OF) == sorted(files)


def test_dvc_finds_the_stages() -> None:
    """DVC looks for no pipeline in a folder that .gitignore seems to leave out."""
    with Repo(str(ROOT)) as repo:
        found = {stage.addressing for stage in repo.index.stages}
    assert {f"studies/dvc.yaml:{stage}@{name}" for name, stage in STAGE_OF.items()} <= found


def test_a_study_that_prepares_data_depends_on_the_data() -> None:
    tree = read_yaml(ROOT / "params.yaml")
    prepares = set()
    for name in STAGE_OF:
        study = load_study(ROOT / f"studies/{name}.yaml", tree)
        if study.kind != "generation":
            kind = open_kind(study, tree, ROOT / "studies" / name)
            assert isinstance(kind, Trained)
            prepares |= {name} if kind.prepares else set()
    assert prepares == {"ablation", "augmentation"}
    for name, stage in STAGE_OF.items():
        node = STAGES[stage]["do"]
        assert ("${data.folder}" in node["deps"]) is (name in prepares)
        assert ({"augmentation", "data", "tokenizers"} <= set(node["params"])) is (name in prepares)


def test_the_code_of_the_stages_is_what_studies_import() -> None:
    """Workers import kinds by their names, so that every module of the room counts."""
    graph = grimp.build_graph("yoyak")
    modules: set[str] = set()
    pending = ["yoyak.stages.study.run", *(name for name in graph.modules if name.startswith("yoyak.studies."))]
    while pending:
        module = pending.pop()
        path = module.removeprefix("yoyak").removeprefix(".")
        if module in modules or not path or {path, path.partition(".")[0]} & EXEMPT.keys():
            continue
        modules.add(module)
        pending += graph.find_modules_directly_imported_by(module)
    verb = "src/yoyak/stages/study/run.py"
    code = {verb if PurePosixPath(path := dependency_on(module)).parts[2] == "stages" else path for module in modules}
    for stage in STAGES.values():
        assert {path for path in stage["do"]["deps"] if path.startswith("src/")} == code
        assert set(stage["do"]["params"]) <= set(Params.model_fields)
