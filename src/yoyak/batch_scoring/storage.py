"""Files on this disk, in S3 and wherever else pyarrow or fsspec reaches, named by a path or a URL.

storage = open_storage("s3://bucket/dialogues/*.parquet")
files = find_files(storage)
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from fsspec.utils import glob_translate
from pyarrow import ArrowException, fs

from yoyak.errors import UserError, first_line, nearest

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_WILDCARD = re.compile(r"[*?\[]")
_PUTS_WHOLE_OBJECTS = ("s3", "gcs", "abfs")
"""Stores in which an object is there when all of it is written, and where a rename is a copy."""
HIDDEN = ("_", ".")
"""How names begin that Spark, pyarrow and pandas leave out of a folder of data."""
COMPRESSED = (".gz", ".bz2", ".zst", ".xz", ".lz4", ".zip")
"""How names of compressed files end."""
LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """A place in a file system."""

    filesystem: fs.FileSystem
    path: str
    """In the file system: an absolute path, or a bucket and a key. It may have wildcards."""
    scheme: str
    """How its URLs begin, such as ``s3``; empty on this disk."""

    def show(self, path: str = "") -> str:
        """Return this place, or another one in its file system, as a person writes it."""
        shown = path or self.path
        return f"{self.scheme}://{shown}" if self.scheme else shown

    def join(self, *names: str) -> str:
        """Return the path of something below this place."""
        return "/".join((self.path.rstrip("/"), *names))


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFile:
    """A file, and how to notice that it has changed."""

    path: str
    size: int
    modified: str | None
    """When it was written last, in UTC; None where a file system does not say."""


@lru_cache(maxsize=16)
def open_storage(name: str) -> Storage:
    """Return the place that a path or a URL names. Raises UserError if no file system is known for it.

    pyarrow has the file systems of file://, s3://, gs://, abfs:// and hdfs://; any other URL is fsspec's. In a URL,
    ``?`` begins pyarrow's options, as in ``s3://bucket/key?endpoint_override=…``; in a path it is a wildcard.
    """
    found = _URL.match(name)
    if not found or name.startswith("file://"):
        return Storage(
            filesystem=fs.LocalFileSystem(), path=str(Path(name.removeprefix("file://")).absolute()), scheme=""
        )
    scheme = found[0].removesuffix("://")
    address, question_mark, options = name.partition("?")
    # Wildcards are not valid in URLs.
    base, pattern = _split_pattern(address)
    try:
        try:
            filesystem, path = fs.FileSystem.from_uri(base + question_mark + options)
        except (ArrowException, ValueError) as error:
            if "nrecognized filesystem" not in str(error):
                raise
            filesystem, path = _open_with_fsspec(base)
    except UserError:
        raise
    except (ArrowException, OSError, ValueError, ImportError) as error:
        raise UserError(f"{name} cannot be opened ({first_line(error)}).") from error
    return Storage(filesystem=filesystem, path="/".join((path.rstrip("/"), *pattern)), scheme=scheme)


def _split_pattern(address: str) -> tuple[str, list[str]]:
    """Return what comes before the first component with a wildcard, and the components from there."""
    parts = address.split("/")
    first = next((index for index, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    return "/".join(parts[:first]), parts[first:]


def _open_with_fsspec(url: str) -> tuple[fs.FileSystem, str]:
    import fsspec

    try:
        filesystem, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url} cannot be opened: {first_line(error)}") from error
    return fs.PyFileSystem(fs.FSSpecHandler(filesystem)), path


def find_files(storage: Storage, suffixes: tuple[str, ...]) -> list[FoundFile]:
    """Return the files that a place names, by name: one, those that match its wildcards, or those in a folder.

    Wildcards do not match names that begin with a dot, as in a shell. Of a folder, files with other suffixes are left
    out, and so are hidden ones, as Spark and pyarrow do; compressed files are found, so that the caller can refuse
    them. Raises UserError if there are none.
    """
    base, pattern = _split_pattern(storage.path)
    [info] = _ask(storage, lambda: storage.filesystem.get_file_info([storage.path]))
    if info.type == fs.FileType.Directory:
        found = [
            child
            for child in _list(storage, storage.path, deep=False)
            if _ends_in(child.base_name, suffixes) and not child.base_name.startswith(HIDDEN)
        ]
    elif info.type != fs.FileType.NotFound:
        # Whatever is in its name.
        pattern, found = [], [info]
    elif pattern:
        expression = re.compile(glob_translate(storage.path))
        deep = len(pattern) > 1 or "**" in pattern[0]
        found = [
            info
            for info in _list(storage, base or "/", deep=deep)
            if expression.fullmatch(info.path) and _names_dots(info.path[len(base) :].split("/"), pattern)
        ]
    else:
        raise UserError(f"{storage.show()} is missing{_find_similar(storage)}.")
    files = [_describe(info) for info in found if info.type == fs.FileType.File]
    if not files:
        what = "matches" if pattern else f"in the folder ends in {', '.join(suffixes)}:"
        raise UserError(f"No file {what} {storage.show()}.")
    return sorted(files, key=lambda file: file.path)


def describe_file(storage: Storage, path: str) -> FoundFile | None:
    """Return what a file is now; None if it is gone."""
    [info] = storage.filesystem.get_file_info([path])
    return _describe(info) if info.type == fs.FileType.File else None


def _describe(info: fs.FileInfo) -> FoundFile:
    modified = info.mtime.isoformat() if info.mtime is not None else None
    return FoundFile(path=info.path, size=info.size, modified=modified)


def _ends_in(name: str, suffixes: tuple[str, ...]) -> bool:
    """Return whether a name ends in a suffix, in letters of any case, and maybe in that of a compressed file."""
    name = name.lower()
    stem, dot, last = name.rpartition(".")
    return name.endswith(suffixes) or (dot + last in COMPRESSED and stem.endswith(suffixes))


def _names_dots(names: Sequence[str], pattern: Sequence[str]) -> bool:
    """Return whether names that begin with a dot are meant, if there are any: a pattern has to begin so as well."""
    return not any(name.startswith(".") for name in names) or any(name.startswith(".") for name in pattern)


def _list(storage: Storage, folder: str, *, deep: bool) -> list[fs.FileInfo]:
    selector = fs.FileSelector(folder, allow_not_found=True, recursive=deep)
    return list(_ask(storage, lambda: storage.filesystem.get_file_info(selector)))


def _ask(storage: Storage, question: Any) -> Any:
    try:
        return question()
    except (OSError, ArrowException) as error:
        raise UserError(f"{storage.show()} cannot be listed ({first_line(error)}).") from error


def _find_similar(storage: Storage) -> str:
    if storage.scheme:
        return ""
    folder = Path(storage.path).parent
    hint = nearest(Path(storage.path).name, [entry.name for entry in folder.iterdir()] if folder.is_dir() else [])
    return hint if "did you mean" in hint else ""


def list_names(storage: Storage, *folders: str) -> set[str]:
    """Return the names of what is in a folder below a place; none if it does not exist."""
    found = _list(storage, storage.join(*folders) if folders else storage.path, deep=False)
    return {info.base_name for info in found}


def read_bytes(storage: Storage, path: str) -> bytes:
    """Return the content of a file."""
    with storage.filesystem.open_input_stream(path, compression=None) as stream:
        return bytes(stream.read())


def read_range(storage: Storage, path: str, offset: int, length: int) -> bytes:
    """Return ``length`` bytes of a file from ``offset`` on."""
    with storage.filesystem.open_input_file(path) as file:
        file.seek(offset)
        return bytes(file.read(length))


def write_whole(storage: Storage, path: str, content: bytes) -> None:
    """Write a file of which nobody ever sees a part, whatever ends this process; an older one is replaced.

    A folder that it needs is made.
    """
    filesystem = storage.filesystem
    if filesystem.type_name in _PUTS_WHOLE_OBJECTS:
        with filesystem.open_output_stream(path, compression=None) as stream:
            stream.write(content)
        return
    folder, _, name = path.rpartition("/")
    filesystem.create_dir(folder, recursive=True)
    work = f"{folder}/.{name}.{uuid.uuid4().hex[:8]}"
    try:
        with filesystem.open_output_stream(work, compression=None) as stream:
            stream.write(content)
        filesystem.move(work, path)
    except BaseException:
        with suppress(OSError, ArrowException):
            filesystem.delete_file(work)
        raise


def delete(storage: Storage, path: str) -> None:
    """Delete a file, if it is there."""
    [info] = storage.filesystem.get_file_info([path])
    if info.type == fs.FileType.File:
        storage.filesystem.delete_file(path)


@contextmanager
def lock_folder(storage: Storage) -> Iterator[None]:
    """Let nobody else write to a folder of this disk inside the block; it is made if it is missing.

    In other file systems there are no locks. Raises UserError if somebody else has locked it, or if it cannot be made.
    """
    if storage.scheme:
        yield
        return
    folder = Path(storage.path)
    is_new, lock = not folder.exists(), FileLock(folder / LOCK, timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise UserError(f"Another run is writing to {storage.show()}: wait until it is over.") from None
    except OSError as error:
        raise UserError(f"{storage.show()} cannot be written ({first_line(error)}).") from error
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()
        if is_new:
            with suppress(OSError):  # It stays if anything was written.
                folder.rmdir()
