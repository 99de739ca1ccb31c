"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.errors import UserError
from yoyak.files import atomic_path, read_json_lines, write_json


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "deep/file.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"a": float("nan")})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert names(tmp_path / "deep") == ["file.json"]


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    for name in ("one", "two"):
        with atomic_path(tmp_path / "out") as work:
            work.mkdir()
            (work / name).touch()
    assert names(tmp_path / "out") == ["two"]
    assert names(tmp_path) == ["out"]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").touch()
    with pytest.raises(IsADirectoryError, match="name a file"), atomic_path(tmp_path / "data") as work:
        work.write_text("a")
    assert names(tmp_path / "data") == ["train.csv"]
    assert names(tmp_path) == ["data"]


def test_a_damaged_line_is_placed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a":')
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2 is damaged"):
        read_json_lines(path)
