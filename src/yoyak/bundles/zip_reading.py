"""Reading a ZIP file without trusting it: what it says about itself is checked, and nothing in it is run.

    with open_archive(Path("model.zip")) as archive:
        archive.extract("config.json", folder / "config.json", limit=1 << 20)

`open_archive` checks all entries first. The caller says which of them are written and where to, so that no path in the
ZIP is ever a path on this disk; names that try it are refused all the same, with everything that no model needs.
"""

from __future__ import annotations

import errno
import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from yoyak.errors import UserError

MAX_ENTRIES = 1000
MAX_BYTES = 64 << 30
"""Of all entries together when unpacked: the largest model of the catalog in fp32 has 43 GB."""
MAX_RATIO, ALWAYS_ALLOWED = 100, 1 << 20
"""How many times larger than its compressed size an entry may be; up to the second, in bytes, any ratio is allowed.
Weights hardly compress at all, text and JSON do so ten or twenty times."""
CHUNK = 1 << 20

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill")
"""Suffixes of files that are pickles, or contain some."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, RuntimeError, ValueError)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The others are rarely used, and with LZMA the file decides how much memory reading it takes."""


@dataclass(slots=True)
class Archive:
    """A ZIP whose entries have been checked."""

    path: Path
    """What it is called in errors."""
    file: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]
    """By name, without folders."""
    written: int = 0
    """Bytes unpacked so far."""

    def extract(self, name: str, target: Path, *, limit: int = MAX_BYTES) -> None:
        """Write an entry to a file, as long as what really comes out of it is within the limits.

        Raises UserError where it is larger than ``limit`` bytes or is damaged.
        """
        info = self.entries[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with _translate_errors(self.path), self.file.open(info) as source, target.open("xb") as out:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                self.written += len(chunk)
                if size > limit:
                    raise UserError(
                        f"{self.path}: {_printable(name)} is larger than {_format_size(limit)}, which it cannot be."
                    )
                if self.written > MAX_BYTES:
                    raise UserError(f"{self.path} is larger than {_format_size(MAX_BYTES)} when unpacked.")
                if size > max(ALWAYS_ALLOWED, MAX_RATIO * info.compress_size):
                    raise _bomb_error(self.path, name)
                out.write(chunk)


@contextmanager
def open_archive(path: Path, name: Path | None = None) -> Iterator[Archive]:
    """Open a ZIP and check every entry before any is read; ``name`` is what it is called in errors.

    Raises UserError for a file that is damaged, encrypted or not a ZIP; a name that leads out of a folder; a link; two
    entries of one name; a pickle; and a ZIP bomb.
    """
    shown = name or path
    with ExitStack() as stack:
        with _translate_errors(shown):
            stream = stack.enter_context(_Bounded(path, shown))
            file = stack.enter_context(zipfile.ZipFile(stream))
        infos = file.infolist()
        if len(infos) > MAX_ENTRIES:
            raise UserError(f"{shown} has {len(infos)} entries, but a model has at most {MAX_ENTRIES}.")
        for info in infos:
            _check(shown, info)
        _check_names(shown, [info.filename for info in infos])
        if sum(info.file_size for info in infos) > MAX_BYTES:
            raise UserError(f"{shown} is larger than {_format_size(MAX_BYTES)} when unpacked.")
        if sum(info.compress_size for info in infos) > path.stat().st_size:
            raise UserError(f"{shown} is damaged: its entries are larger than the file.")
        yield Archive(shown, file, {info.filename: info for info in infos if not info.is_dir()})


class _Bounded(io.BufferedReader):
    """A file that returns at most a megabyte at once.

    zipfile reads the list of all entries in one call, whatever size the file claims it has, and entries in small ones.
    """

    def __init__(self, path: Path, shown: Path) -> None:
        super().__init__(io.FileIO(path))
        self.shown = shown

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = CHUNK + 1 if size is None or size < 0 else size
        data = super().read(min(wanted, CHUNK + 1))
        if len(data) > CHUNK:
            raise UserError(f"{self.shown} lists more entries than any model has.")
        return data


def _check(path: Path, info: zipfile.ZipInfo) -> None:
    """Refuse an entry because of its header."""
    # zipfile cuts a name at a NUL; what follows it would go unnoticed.
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
        raise UserError(f"{path}: {_printable(name)} would lead out of the model's folder: nothing was unpacked.")
    if not name.isprintable():
        raise UserError(
            f"{path}: the name {_printable(name)} has characters that no file name has: nothing was unpacked."
        )
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UserError(f"{path}: {_printable(name)} is a link or a device, not a file: nothing was unpacked.")
    if info.flag_bits & _ENCRYPTED:
        raise UserError(f"{path}: {_printable(name)} is encrypted: create the ZIP without a password.")
    if info.compress_type not in _METHODS:
        raise UserError(f"{path}: {_printable(name)} is compressed with an unusual method: use deflate.")
    if PurePosixPath(name.casefold()).suffix in PICKLES:
        raise UserError(
            f"{path}: {_printable(name)} may be a pickle, which can run any program when it is loaded: save the "
            f"weights as safetensors and leave the file out."
        )
    if info.file_size > max(ALWAYS_ALLOWED, MAX_RATIO * info.compress_size):
        raise _bomb_error(path, name)


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse two names that are the same file on a disk that ignores case or how accents are encoded."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name.removesuffix("/")).casefold()
        if folded in seen:
            raise UserError(f"{path} holds {_printable(name)} twice: nothing was unpacked.")
        seen[folded] = name


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Turn what zipfile raises for a file that is damaged, or not a ZIP, into one sentence."""
    try:
        yield
    except (*_DAMAGED, OSError) as error:
        # An offset before the start of the file is an invalid argument; any other error is the disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(
            f"{path} is not a ZIP file, or a damaged one ({reason[:200]}): copy or download it again."
        ) from error


def _bomb_error(path: Path, name: str) -> UserError:
    return UserError(
        f"{path}: {_printable(name)} is more than {MAX_RATIO} times larger than its compressed size: it is not a model."
    )


def _printable(name: str) -> str:
    """Return a name that is safe to print: short, and without control characters."""
    return ascii(name if len(name) <= 80 else f"{name[:80]}...") if not name.isprintable() else f"'{name[:80]}'"


def _format_size(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
