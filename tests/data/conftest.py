"""Data files of a few rows, written into a temporary folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yoyak import params

GOOD = "fname,dialogue,summary,topic\n" + "".join(
    f'{name},"#Person1#: {text}\n#Person2#: 네, 좋아요.",{text} 이야기,일상\n'
    for name, text in (("a", "점심 먹을까요?"), ("b", "영화 볼까요?"), ("c", "산책할까요?"))
)
"""A CSV file of three rows, each of which takes two lines."""


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def data_of(tmp_path: Path) -> Callable[..., params.Data]:
    """Write ``{file name: content}`` and return params.Data whose splits are the names before the dot."""

    def write(files: dict[str, str | bytes], **options: Any) -> params.Data:
        for name, content in files.items():
            raw = content.encode("utf-8") if isinstance(content, str) else content
            (tmp_path / name).write_bytes(raw)
        splits = {name.split(".")[0]: name for name in files}
        return params.Data(folder=str(tmp_path), files=splits, **options)

    return write
