"""A quick check whether the registry already has this exact result, before `register` and `release` do their work.

It reads MLflow's SQLite file without importing MLflow, which takes milliseconds instead of seconds. For any other
store, and in case of doubt, the answer is no, and the stage runs in full.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import yoyak
from yoyak import project
from yoyak.errors import UserError
from yoyak.tracking import lineage
from yoyak.tracking.registered import read_registered
from yoyak.tracking.uri import sqlite_file, tracking_uri

RELEASE = "yoyak.release"
"""Tag of an exported version, and of its registered model: what it was released from; the model has the last one."""

_TAGGED_VERSIONS = """
    SELECT version.storage_location
    FROM model_version_tags AS tag
    JOIN model_versions AS version ON version.name = tag.name AND version.version = tag.version
    WHERE tag.name = ? AND tag.key = ? AND tag.value = ?
      AND version.current_stage != 'Deleted_Internal'
"""
_RELEASED_VERSIONS = f"""{_TAGGED_VERSIONS}
      AND EXISTS (
        SELECT 1 FROM registered_model_tags AS last
        WHERE last.name = tag.name AND last.key = tag.key AND last.value = tag.value
      )
      AND EXISTS (
        SELECT 1 FROM registered_model_aliases AS alias WHERE alias.name = tag.name AND alias.alias = 'serving'
      )
"""


def registration_fingerprint() -> str:
    """Return the md5 of all that decides what is registered: code, params, evaluation, splits, receipts, ensembles.

    Whether the working tree is a commit or an experiment counts too, since it decides who may become champion.
    """
    fixed = (Path("params.yaml"), project.EVALUATION / "summary.json", *project.eval_splits().values())
    ensembles = (path for name in ("combiner.json", "info.json") for path in project.ENSEMBLES.glob(f"*/{name}"))
    written = (path for folder in (project.RECEIPTS, project.BEHAVIOUR) for path in sorted(folder.glob("*.json")))
    results = _md5((*fixed, *written, *sorted(ensembles)))
    code = _md5(sorted(Path(yoyak.__file__).parent.rglob("*.py")))
    return hashlib.md5(f"{results} {code} {lineage.experiment_name()}".encode()).hexdigest()


def release_fingerprint() -> str:
    """Return the md5 of everything that decides what is released: params, the bench, the versions in fp32."""
    return _md5([Path("params.yaml"), project.BENCH / "serving.json", project.REGISTERED])


def was_registered_last(fingerprint: str) -> bool:
    """Return whether this is the result that was registered last; if not, aliases and the report belong to another."""
    try:
        return read_registered().fingerprint == fingerprint
    except UserError:
        return False


def is_registered(fingerprint: str, name: str = "yoyak") -> bool:
    """Return whether a version of the registered model carries the fingerprint, and its files exist."""
    return _has_files(_TAGGED_VERSIONS, name, "yoyak.fingerprint", fingerprint)


def is_released(fingerprint: str, name: str = "yoyak") -> bool:
    """Return whether the last release carries the fingerprint, and its files exist."""
    return _has_files(_RELEASED_VERSIONS, name, RELEASE, fingerprint)


def _has_files(query: str, *values: str) -> bool:
    file = sqlite_file(tracking_uri())
    if file is None or not file.is_file():
        return False
    try:
        connection = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            rows = connection.execute(query, values).fetchall()
        finally:
            connection.close()
    except sqlite3.Error:
        return False
    return any((Path(location.removeprefix("file://")) / "MLmodel").is_file() for (location,) in rows if location)


def _md5(paths: Iterable[Path]) -> str:
    digest = hashlib.md5()
    for path in paths:
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
