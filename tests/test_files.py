"""Files are written whole or not at all."""

from __future__ import annotations

import shutil
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
from yoyak.files import (
    atomic_path,
    cached_folder,
    is_disk_full,
    read_json_lines,
    read_result,
    write_json,
    write_result,
)


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


WRITER = """
import os, signal, sys
from pathlib import Path
from yoyak.files import atomic_path
with atomic_path(sys.argv[1]) as work:
    work.mkdir()
    (work / "weights").write_bytes(bytes(1000))
    if sys.argv[2] == "moved":
        # As between the two moves that put the new folder in the place of the old one.
        Path(sys.argv[1]).rename(work.parent / f"{work.name}.replaced")
    print("writing", flush=True)
    if sys.argv[2] == "waits":
        sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def write_and_die(path: Path, how: str = "killed") -> None:
    subprocess.run([sys.executable, "-c", WRITER, path, how], stdout=subprocess.DEVNULL, check=False)


def test_what_a_killed_process_was_writing_is_removed_by_the_next_one(tmp_path: Path) -> None:
    write_and_die(tmp_path / "model")
    [left] = names(tmp_path)
    assert left.startswith(".model.writing-")
    # Another path's may have been its only copy.
    write_json(tmp_path / "model.json", 1)
    assert left in names(tmp_path)
    replace_folder(tmp_path / "model")
    assert names(tmp_path) == ["model", "model.json"]


def test_a_folder_that_a_killed_process_had_moved_away_is_put_back(tmp_path: Path) -> None:
    replace_folder(tmp_path / "model")
    write_and_die(tmp_path / "model", "moved")
    assert not (tmp_path / "model").exists()
    with pytest.raises(ValueError, match="no new one"), atomic_path(tmp_path / "model"):
        raise ValueError("no new one")
    assert names(tmp_path / "model") == ["new"]
    assert names(tmp_path) == ["model"]


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "model"), "waits"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        replace_folder(tmp_path / "model")
        left = [path for path in tmp_path.iterdir() if path.name.startswith(".model.writing-")]
        assert [names(path / "model") for path in left] == [["weights"]]
        process.kill()


def test_dvc_leaves_out_what_is_being_written(tmp_path: Path) -> None:
    """Or a stage that depends on `predictions` would have other inputs once a process was killed."""
    from dvc.repo import Repo

    shutil.copy(Path(__file__).parents[1] / ".dvcignore", tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        for path in ("predictions/.bart.writing-a_b1c2d3/bart", "models/.t5 x.writing-abcdefgh"):
            (tmp_path / path).mkdir(parents=True)
            assert repo.dvcignore.is_ignored_dir(str(tmp_path / path)) or repo.dvcignore.is_ignored_dir(
                str(tmp_path / path).rpartition("/")[0]
            )
        (tmp_path / "predictions/bart").mkdir()
        assert not repo.dvcignore.is_ignored_dir(str(tmp_path / "predictions/bart"))


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
    seen = [process.communicate(timeout=600)[0] for process in processes]
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


def test_a_full_disk_is_recognised_whatever_says_so():
    from safetensors import SafetensorError

    with pytest.raises(OSError) as raised, Path("/dev/full").open("w") as full:
        full.write("x")
    assert is_disk_full(raised.value)
    # As these libraries raised them on a full disk.
    rust = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    torch = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")
    assert is_disk_full(rust) and is_disk_full(torch)
    try:
        raise ValueError("training stopped") from rust
    except ValueError as error:
        assert is_disk_full(error)
    assert not is_disk_full(FileNotFoundError(2, "No such file or directory"))
    assert not is_disk_full(
        RuntimeError("[enforce fail at inline_container.cc:156] . PytorchStreamReader failed reading zip archive")
    )
