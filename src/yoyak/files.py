"""Writing files and folders so that nothing half-written is ever left under its final name, and reading them back."""

from __future__ import annotations

import errno
import fcntl
import glob
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from yoyak.errors import UserError, first_line

Result = TypeVar("Result")

WRITING = ".writing-"
"""In the names of hidden folders in which files are written. DVC leaves them out (.dvcignore)."""
_DISK_FULL = re.compile(
    r"No space left on device|Disk quota exceeded|disk is full|inline_container\.cc.*(unexpected pos|file write failed)"
)
"""What Rust, SQLite and torch, which compares the bytes that it has written, say of a full disk."""


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it replaces ``path``, on failure it is removed.

    The caller may create a file or a folder there. Missing parent folders are created. A folder that was at ``path``
    before is replaced completely, but never by a file. Whatever interrupts the replacement, either the old or the new
    folder is at ``path`` afterwards.
    """
    final = Path(path)
    with _work_folder(final) as folder:
        work, replaced = folder / final.name, folder / f"{final.name}.replaced"
        try:
            yield work
            if final.is_dir() and not final.is_symlink():
                if not work.is_dir():
                    raise IsADirectoryError(errno.EISDIR, "this is a folder, name a file", os.fspath(path))
                final.replace(replaced)
            work.replace(final)
        finally:
            if replaced.exists() and not os.path.lexists(final):
                replaced.replace(final)


def cache_folder() -> Path:
    """Return the user's cache folder, for what can be downloaded, unpacked or converted again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "yoyak"


def cached_folder(path: str | os.PathLike[str], create: Callable[[Path], object]) -> Path:
    """Return the folder at ``path``, which ``create`` writes if it does not exist yet.

    This is for content-addressed caches: whoever finishes first decides, and an existing folder is never replaced,
    since another process may be reading it.

    Args:
        create: Is given a path at which it creates the folder. If it raises, nothing is left behind.
    """
    final = Path(path)
    if not final.is_dir():
        with _work_folder(final) as folder:
            work = folder / final.name
            create(work)
            try:
                work.rename(final)
            except OSError:
                if not final.is_dir():
                    raise
    return final


@contextmanager
def _work_folder(final: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside ``final``. It is removed unless what cleans up inside the block fails."""
    final.parent.mkdir(parents=True, exist_ok=True)
    _clean_up(final)
    # The lock comes before the name by which `_clean_up` finds the folder; the system takes it back from who is killed.
    unnamed = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    folder = unnamed.with_name(f".{final.name}{WRITING}{unnamed.name[-8:]}")
    lock = os.open(unnamed, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unnamed.rename(folder)
        yield folder
    finally:
        # A folder that could not be moved back is still in there, and is the only copy.
        if not (folder / f"{final.name}.replaced").exists() or os.path.lexists(final):
            shutil.rmtree(folder, ignore_errors=True)
        with suppress(OSError):
            unnamed.rmdir()
        os.close(lock)


def _clean_up(final: Path) -> None:
    """Remove what processes that were killed have left of ``final``; a folder that they had moved away is put back."""
    for folder in final.parent.glob(f".{glob.escape(final.name)}{WRITING}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                replaced = folder / f"{final.name}.replaced"
                if replaced.exists() and not os.path.lexists(final):
                    replaced.rename(final)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error came from a full disk; libraries in C++ and Rust have no class of their own for it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if _DISK_FULL.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read one JSON object per line; raises UserError that names the first line that is not valid JSON."""
    return list(iter_json_lines(path))


def iter_json_lines(path: str | os.PathLike[str]) -> Iterator[dict[str, Any]]:
    """Yield what `read_json_lines` reads, line by line."""
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number} is damaged ({error}): recreate it with `dvc repro`.") from error
            yield value


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, all of it or nothing."""
    with atomic_path(path) as work:
        work.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON with a final newline; NaN is refused, keys keep their order."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")


def write_result(path: str | os.PathLike[str], result: Any) -> None:
    """Write a dataclass as indented JSON, which `read_result` reads back."""
    write_json(path, asdict(result))


def read_result(path: str | os.PathLike[str], kind: type[Result], *, command: str) -> Result:
    """Read a dataclass of type ``kind`` that `write_result` wrote.

    Raises UserError where the file is missing or does not hold such a result; it names ``command``, which writes the
    file.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_json(Path(path).read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run `{command}` first.") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = ".".join(map(str, problem["loc"]))
        raise UserError(
            f"{path} is damaged ({f'{where}: ' if where else ''}{problem['msg']}): run `{command}` again."
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}).") from error
