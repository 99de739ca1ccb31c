"""The digest of each file of an MLflow model, and one of them all, by which changed or damaged files are noticed.

    digest = write_manifest(folder)   # when it is logged; MLflow's database keeps the digest, apart from the files
    check_manifest(folder, digest, …)  # before it is used

The file has the format of coreutils: `sha256sum --check files.sha256`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from yoyak.errors import UserError

MANIFEST = "files.sha256"
TAG = "yoyak.sha256"
"""Tag of a logged model: the sha256 of its `MANIFEST`, and so of all of its files."""
_ADDED = "registered_model_meta"
"""What MLflow adds to a model when it downloads it."""
_COMPILED = "__pycache__"
"""What Python adds to the code of a model that has been served. It is not checked, so that `yoyak serve` does not let
Python read it (`serving.launch`)."""


def write_manifest(folder: Path) -> str:
    """Write the digests of all files of an MLflow model beside them, and return the digest of that."""
    lines = [f"{_sha256(folder / name)}  {name}\n" for name in _list_files(folder)]
    (folder / MANIFEST).write_text("".join(lines), encoding="utf-8")
    return _sha256(folder / MANIFEST)


def check_manifest(folder: Path, expected: str | None, *, where: str, remedy: str) -> None:
    """Raise UserError if the files of an MLflow model are not those that were logged.

    Without a manifest, a model of an older Yoyak is not checked unless there is a digest that says what to expect.

    Args:
        expected: The digest that MLflow has of the model's manifest; None if it has none.
        where: What the model is called in errors.
        remedy: What a person should do then.
    """
    path = folder / MANIFEST
    if not path.is_file():
        if expected is not None:
            raise UserError(f"{where} has no {MANIFEST}, which says what its files are: {remedy}.")
        return
    if expected is not None and _sha256(path) != expected:
        raise UserError(f"{where}: {MANIFEST}, which says what its files are, is not what was logged: {remedy}.")
    recorded = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        recorded[name] = digest
    files = _list_files(folder)
    for name in sorted({*recorded, *files}):
        if name not in files:
            raise UserError(f"{where}: the file {name} is missing: {remedy}.")
        if name not in recorded or (folder / name).is_symlink():
            raise UserError(f"{where}: the file {ascii(name)[1:-1]} does not belong to it: {remedy}.")
        if _sha256(folder / name) != recorded[name]:
            raise UserError(f"{where}: the file {name} is not the one that was logged: {remedy}.")


def _list_files(folder: Path) -> list[str]:
    """Return the names of all files, and of links to folders, whose files are not looked at."""
    names = []
    for path in folder.rglob("*"):
        name = path.relative_to(folder)
        if path.is_symlink() or not (path.is_dir() or _COMPILED in name.parts or name.as_posix() in (MANIFEST, _ADDED)):
            names.append(name.as_posix())
    return sorted(names)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
