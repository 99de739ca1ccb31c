"""Reading a ZIP file that anyone may have made: nothing in it is believed, and nothing in it is run.

    with opened(Path("model.zip")) as archive:
        archive.extract("config.json", folder / "config.json", limit=1 << 20)

`opened` looks at all entries first. The caller says which of them are written and where to, so that no path of the
ZIP is ever a path on this disk; names that try it are refused all the same, with all that a model has no need of.
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
MAX_RATIO, FREE_RATIO = 100, 1 << 20
"""How many times larger an entry may be than it is packed; up to the second, in bytes, it is of no matter. Weights
hardly pack at all, text and JSON do so ten or twenty times."""
CHUNK = 1 << 20

PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill")
"""Endings of files that are pickles, or hold some."""

_DAMAGED = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, OverflowError, RuntimeError, ValueError)
_ENCRYPTED = 0x1 | 0x40 | 0x2000
_KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The others have little use, and LZMA lets a file say how much memory reading it takes."""


@dataclass(slots=True)
class Archive:
    """A ZIP whose entries have been looked at."""

    path: Path
    file: zipfile.ZipFile
    entries: dict[str, zipfile.ZipInfo]
    """By name, folders left out."""
    written: int = 0
    """Bytes that were unpacked so far."""

    def extract(self, name: str, target: Path, *, limit: int = MAX_BYTES) -> None:
        """Write an entry to a file, as long as what really comes out of it is within the limits.

        Raises UserError where it is larger than ``limit`` bytes or is damaged.
        """
        info = self.entries[name]
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with _reported(self.path), self.file.open(info) as source, target.open("xb") as out:
            while chunk := source.read(CHUNK):
                size += len(chunk)
                self.written += len(chunk)
                if size > limit:
                    raise UserError(f"{self.path}: {_shown(name)} is larger than {_amount(limit)}, which it cannot be.")
                if self.written > MAX_BYTES:
                    raise UserError(f"{self.path} is larger than {_amount(MAX_BYTES)} when unpacked.")
                if size > max(FREE_RATIO, MAX_RATIO * info.compress_size):
                    raise _bomb(self.path, name)
                out.write(chunk)


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open a ZIP and look at every entry before any is read.

    Raises UserError in one sentence for a file that is damaged, encrypted or no ZIP; a name that leads out of a
    folder; a link; two entries of one name; a pickle; and what is made to fill a disk.
    """
    with ExitStack() as stack:
        with _reported(path):
            stream = stack.enter_context(_Bounded(path))
            file = stack.enter_context(zipfile.ZipFile(stream))
        infos = file.infolist()
        if len(infos) > MAX_ENTRIES:
            raise UserError(f"{path} has {len(infos)} entries, a model has no more than {MAX_ENTRIES}.")
        for info in infos:
            _check(path, info)
        _check_names(path, [info.filename for info in infos])
        if sum(info.file_size for info in infos) > MAX_BYTES:
            raise UserError(f"{path} is larger than {_amount(MAX_BYTES)} when unpacked.")
        if sum(info.compress_size for info in infos) > path.stat().st_size:
            raise UserError(f"{path} is damaged: its entries are larger than the file.")
        yield Archive(path, file, {info.filename: info for info in infos if not info.is_dir()})


class _Bounded(io.BufferedReader):
    """A file that gives no more than a megabyte at once.

    zipfile reads the list of all entries by one call, whatever size the file says that it has, and an entry by small
    ones.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.path = path

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = CHUNK + 1 if size is None or size < 0 else size
        data = super().read(min(wanted, CHUNK + 1))
        if len(data) > CHUNK:
            raise UserError(f"{self.path} lists more entries than any model has.")
        return data


def _check(path: Path, info: zipfile.ZipInfo) -> None:
    """Refuse an entry for what its header says."""
    # zipfile cuts a name at a NUL; what stood behind it would go by unseen.
    name = info.orig_filename
    parts = name.removesuffix("/").split("/")
    if name.startswith("/") or "\\" in name or ":" in name or any(part in ("", ".", "..") for part in parts):
        raise UserError(f"{path}: {_shown(name)} would lead out of the model's folder: nothing was unpacked.")
    if not name.isprintable():
        raise UserError(f"{path}: the name {_shown(name)} holds characters that no file has: nothing was unpacked.")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UserError(f"{path}: {_shown(name)} is a link or a device, no file: nothing was unpacked.")
    if info.flag_bits & _ENCRYPTED:
        raise UserError(f"{path}: {_shown(name)} is encrypted: make the ZIP without a password.")
    if info.compress_type not in _KINDS:
        raise UserError(f"{path}: {_shown(name)} is packed in an unusual way: use the usual one, deflate.")
    if PurePosixPath(name.casefold()).suffix in PICKLES:
        raise UserError(
            f"{path}: {_shown(name)} may be a pickle, which can run any program when it is loaded: save the weights as "
            f"safetensors and leave the file out."
        )
    if info.file_size > max(FREE_RATIO, MAX_RATIO * info.compress_size):
        raise _bomb(path, name)


def _check_names(path: Path, names: list[str]) -> None:
    """Refuse two names that are one file on some disk, where case or the way of writing accents makes none differ."""
    seen: dict[str, str] = {}
    for name in names:
        folded = unicodedata.normalize("NFC", name.removesuffix("/")).casefold()
        if folded in seen:
            raise UserError(f"{path} holds {_shown(name)} twice: nothing was unpacked.")
        seen[folded] = name


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn what zipfile raises for a file that is damaged, or is none, into one sentence."""
    try:
        yield
    except (*_DAMAGED, OSError) as error:
        # A place before the file's beginning is an invalid argument; any other error is the disk's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} is no ZIP, or a damaged one ({reason[:200]}): copy or download it again.") from error


def _bomb(path: Path, name: str) -> UserError:
    return UserError(f"{path}: {_shown(name)} is more than {MAX_RATIO} times larger than it is packed: it is no model.")


def _shown(name: str) -> str:
    """Return a name as it may be printed: short, and without what a terminal would obey."""
    return ascii(name if len(name) <= 80 else f"{name[:80]}...") if not name.isprintable() else f"'{name[:80]}'"


def _amount(size: int) -> str:
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"
