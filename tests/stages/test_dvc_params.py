"""dvc.yaml and export/dvc.yaml name, for each stage, exactly the params that its class in params/stages.py has."""

from __future__ import annotations

import inspect
import re

import pytest
from ruamel.yaml import YAML

from pipeline.conftest import ROOT
from yoyak.params import Params, stages
from yoyak.params.base import Section

PIPELINES = [YAML(typ="safe").load(ROOT / name)["stages"] for name in ("dvc.yaml", "export/dvc.yaml")]
STAGES = {name: node.get("do", node) for pipeline in PIPELINES for name, node in pipeline.items()}
CLASSES = {
    re.sub("(?<!^)(?=[A-Z])", "_", name.removesuffix("Params")).lower(): kind
    for name, kind in inspect.getmembers(stages, inspect.isclass)
    if issubclass(kind, Section) and kind.__module__ == stages.__name__
}


def test_every_stage_has_a_class_and_a_file() -> None:
    assert set(CLASSES) == set(STAGES)
    for name in STAGES:
        assert (ROOT / f"src/yoyak/stages/{name}.py").is_file()


@pytest.mark.parametrize("name", STAGES)
def test_the_params_of_a_stage_are_the_fields_of_its_class(name: str) -> None:
    fields = [path.format(key="${key}") for path in stages.paths(CLASSES[name]).values()]
    assert sorted(fields) == sorted(STAGES[name]["params"])


@pytest.mark.parametrize("kind", CLASSES.values())
def test_the_first_part_of_every_path_is_a_section(kind: type[Section]) -> None:
    assert {path.partition(".")[0] for path in stages.paths(kind).values()} <= set(Params.model_fields)
