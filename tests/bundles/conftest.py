"""A ZIP's parts, and a place of each test's own that is all it may touch."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, all that a ZIP may touch; and no project around."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "cache"


@pytest.fixture
def parts(tiny_bart: Path) -> dict[str, bytes]:
    """The files of a bundle that has nothing but the model."""
    files = {path.name: path.read_bytes() for path in tiny_bart.iterdir()}
    return {f"tokenizer/{name}" if "token" in name else name: data for name, data in files.items()}
