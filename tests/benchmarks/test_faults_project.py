"""The project that `benchmarks/faults.py` harms."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def load(name: str) -> Any:
    """Return a script of benchmarks/ as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def inputs() -> Iterator[str]:
    """Yield what stages depend on and no stage writes."""
    stages = [one.get("do", one) for one in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].values()]
    written = [out if isinstance(out, str) else next(iter(out)) for stage in stages
               for kind in ("outs", "metrics", "plots") for out in stage.get(kind, ())]  # fmt: skip
    for stage in stages:
        for path in stage["deps"]:
            if "$" not in path and not any(Path(path).is_relative_to(out) or out.startswith(path) for out in written):
                yield path


def test_it_has_whatever_the_stages_depend_on(tmp_path):
    folder = load("faults_project").make_template(tmp_path / "template", rows=8)
    needed = set(inputs())
    assert {"cases", "pretrained", "requirements.lock"} <= needed
    assert not [path for path in needed if not (folder / path).exists()]


@pytest.mark.parametrize(
    ("name", "text", "broken"),
    [
        ("dvc.lock", "schema: '2.0'\n", False),
        ("dvc.lock", "", True),
        ("dvc.lock", "schema: '2.", True),
        ("dvc.lock", "stages:\n  prepare:\n    cmd:\n", True),
        (".dvc/tmp/rwlock", "{}", False),
        (".dvc/tmp/rwlock", '{"/data": {"read"', True),
    ],
)
def test_what_dvc_was_killed_over_is_removed(tmp_path, name, text, broken):
    file = tmp_path / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    project = load("faults_project").Project(folder=tmp_path)
    assert project.remove_half_written() == [name] * broken
    assert file.exists() is not broken
    assert project.remove_half_written() == []
