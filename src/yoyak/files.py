"""Writing files so that nothing half-written is ever left under its final name."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yoyak.errors import UserError


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; on success it takes the place of ``path``, on failure it is removed.

    The caller may create a file or a folder there. Parent folders are made. A folder that was at ``path`` before
    is replaced as a whole, but never by a file.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    holder = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=final.parent))
    work = holder / final.name
    try:
        yield work
        if final.is_dir() and not final.is_symlink():
            if not work.is_dir():
                raise IsADirectoryError(errno.EISDIR, "this is a folder, name a file", os.fspath(path))
            final.replace(holder / "old")
        work.replace(final)
    finally:
        shutil.rmtree(holder, ignore_errors=True)


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read one JSON object per line; UserError that names the line that is none."""
    rows = []
    with Path(path).open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise UserError(f"{path}, line {number} is damaged ({error}); `dvc repro` makes it anew.") from error
    return rows


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` as UTF-8, all of it or nothing."""
    with atomic_path(path) as work:
        work.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Write ``value`` as indented JSON with a final newline; NaN is refused, keys keep their order."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2, allow_nan=False) + "\n")
