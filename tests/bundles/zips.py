"""ZIPs made on purpose."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mlflow_helpers import DIALOGUE
from yoyak.bundles.archive import open_bundle
from yoyak.bundles.resolve import resolve_model
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError


def zipped(path: Path, parts: Mapping[str, bytes], change: Callable[[zipfile.ZipFile], None] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in parts.items():
            file.writestr(name, data)
        if change:
            change(file)
    return path


def patched(path: Path, before: bytes, after: bytes) -> None:
    assert len(before) == len(after)
    data = path.read_bytes()
    assert before in data
    path.write_bytes(data.replace(before, after))


def summaries(model: str | Path) -> list[Any]:
    return (
        TorchSummarizer.load(resolve_model(str(model)), device="cpu")
        .summarize([DIALOGUE, "#Person1#: 네 시?"])
        .candidates
    )


def refused(path: Path, message: str, cache: Path) -> None:
    """The ZIP is refused in one sentence, and nothing is left of it anywhere."""
    before = {entry for entry in path.parent.rglob("*") if cache not in entry.parents and entry != cache}
    with pytest.raises(UserError, match=message) as raised:
        open_bundle(path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()
    assert not [entry for entry in cache.rglob("*") if entry.is_file()]
    assert {entry for entry in path.parent.rglob("*") if cache not in entry.parents and entry != cache} == before
