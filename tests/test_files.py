"""Files are written whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from yoyak import files
from yoyak.errors import UserError
from yoyak.files import atomic_path, cached_folder, read_json_lines, read_result, write_json, write_result


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_the_old_file(tmp_path: Path) -> None:
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


def replace_folder(path: Path) -> None:
    with atomic_path(path) as work:
        work.mkdir()
        (work / "new").touch()


def interrupt(function: Callable[[], None], moment: int) -> bool:
    """Call a function and raise KeyboardInterrupt at one of the lines of files.py that run; False if it ends before."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            lines += 1
            if lines == moment:
                raise KeyboardInterrupt
        return trace

    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_ctrl_c_at_any_moment_of_a_replacement_leaves_the_old_or_the_new_folder(tmp_path: Path) -> None:
    for moment in count(1):
        out = tmp_path / f"{moment}"
        out.mkdir()
        (out / "old").touch()
        interrupted = interrupt(partial(replace_folder, out), moment)
        assert names(out) in (["old"], ["new"]), f"interrupted at line event {moment}"
        if not interrupted:
            break
    assert moment > 10


def test_processes_that_fill_a_cache_at_once_share_the_first_copy(tmp_path: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from yoyak.files import cached_folder
cache, name, other = sys.argv[1:]
def create(work):
    work.mkdir()
    (work / "creator").write_text(name)
    Path(cache, name).touch()
    while not Path(cache, other).exists():
        time.sleep(0.01)
folder = cached_folder(Path(cache, "folder"), create)
print(folder.stat().st_ino, (folder / "creator").read_text())
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, *pair], stdout=subprocess.PIPE, text=True) for pair in (("a", "b"), ("b", "a"))
    ]
    seen = [process.communicate(timeout=60)[0] for process in processes]
    assert seen[0] == seen[1] == f"{(tmp_path / 'folder').stat().st_ino} {(tmp_path / 'folder/creator').read_text()}\n"
    assert names(tmp_path) == ["a", "b", "folder"]


def test_a_cache_that_could_not_be_filled_is_filled_the_next_time(tmp_path: Path) -> None:
    def fail(work: Path) -> None:
        work.mkdir()
        raise ValueError("no network")

    with pytest.raises(ValueError, match="no network"):
        cached_folder(tmp_path / "cache/folder", fail)
    assert names(tmp_path / "cache") == []
    assert cached_folder(tmp_path / "cache/folder", Path.mkdir).is_dir()
    assert cached_folder(tmp_path / "cache/folder", fail).is_dir(), "an existing folder is not created again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    speed: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    name: str
    cells: tuple[Inner, ...]
    rounds: dict[str, list[float]]


def test_a_result_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    result = Outer(name="요약", cells=(Inner(speed=1.5), Inner(speed=None)), rounds={"a": [1.0, 2.0]})
    write_result(tmp_path / "result.json", result)
    assert read_result(tmp_path / "result.json", Outer, command="yoyak bench") == result


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"result\.json is missing: run `yoyak bench`"),
        ("{", r"result\.json is damaged .*run `yoyak bench`"),
        ('{"name": "a", "cells": [{"speed": "fast"}], "rounds": {}}', r"damaged \(cells\.0\.speed: "),
        ('{"name": "a"}', r"damaged \(cells: "),
    ],
)
def test_a_result_that_cannot_be_read_names_the_command_that_writes_it(
    text: str | None, message: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    with pytest.raises(UserError, match=message):
        read_result(tmp_path / "result.json", Outer, command="yoyak bench")


def test_an_error_names_the_damaged_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"a": 1}\n{"a":')
    with pytest.raises(UserError, match=r"rows\.jsonl, line 2 is damaged"):
        read_json_lines(path)
