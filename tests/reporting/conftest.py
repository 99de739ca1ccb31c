"""Project folders to report on."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from reporting.reporting_project import Project, write_project


@pytest.fixture(scope="session")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that tests only read."""
    return write_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def make_project(scored: Path, tmp_path: Path) -> Project:
    """Write a project of one's own; keyword arguments are those of `write_project`, none give a copy of `scored`."""

    def make(**options: Any) -> Path:
        root = tmp_path / "project"
        return write_project(root, **options) if options else Path(shutil.copytree(scored, root))

    return make
