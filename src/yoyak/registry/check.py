"""A quick check whether the registry already has this exact result, before `register` and `release` do their work.

Importing MLflow takes longer than the answer, so this does without: a server is asked by its REST API, and of SQLite's
file it is remembered how it looked after the last full run. A file that looks the same has not been written to since,
and the registry in it is the same. For any other store, and in case of doubt, the answer is no, and the stage runs in
full.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import yoyak
from yoyak import project
from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.tracking import lineage
from yoyak.tracking.registered import read_registered
from yoyak.tracking.rest import is_server, open_session
from yoyak.tracking.uri import sqlite_file, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

FINGERPRINT = "yoyak.fingerprint"
"""Tag of a version of the best model: what it was registered from."""
RELEASE = "yoyak.release"
"""Tag of an exported version, and of its registered model: what it was released from; the model has the last one."""

TIMEOUT = 5.0
"""Seconds for a server's answer; a slower one counts as no."""


def registration_fingerprint() -> str:
    """Return the md5 of all that decides what is registered: code, params, evaluation, splits, receipts, ensembles.

    Whether the working tree is a commit or an experiment counts too, since it decides who may become champion.
    """
    fixed = (Path("params.yaml"), project.EVALUATION / "summary.json", *project.eval_splits().values())
    ensembles = (path for name in ("combiner.json", "info.json") for path in project.ENSEMBLES.glob(f"*/{name}"))
    written = (path for folder in (project.RECEIPTS, project.BEHAVIOUR) for path in sorted(folder.glob("*.json")))
    results = _md5((*fixed, *written, *sorted(ensembles)))
    code = _md5(sorted(Path(yoyak.__file__).parent.rglob("*.py")))
    return hashlib.md5(f"{results} {code} {lineage.experiment_name()} {_overrides()}".encode()).hexdigest()


def release_fingerprint() -> str:
    """Return the md5 of everything that decides what is released: params, the bench, the versions in fp32."""
    results = _md5([Path("params.yaml"), project.BENCH / "serving.json", project.REGISTERED])
    return hashlib.md5(f"{results} {_overrides()}".encode()).hexdigest()


def was_registered_last(fingerprint: str) -> bool:
    """Return whether this is the result that was registered last; if not, aliases and the report belong to another."""
    try:
        return read_registered().fingerprint == fingerprint
    except UserError:
        return False


def is_registered(fingerprint: str, name: str = "yoyak") -> bool:
    """Return whether a version of the registered model carries the fingerprint, and its files exist."""
    return _is_known(FINGERPRINT, fingerprint, name)


def is_released(fingerprint: str, name: str = "yoyak") -> bool:
    """Return whether the last release carries the fingerprint, and its files exist."""
    return _is_known(RELEASE, fingerprint, name)


def remember(tag: str, fingerprint: str, name: str = "yoyak") -> None:
    """Remember that the registry has a result, after `FINGERPRINT` or `RELEASE` has been set on its version.

    What was remembered of the other tag stays, if it is still true. Only for SQLite: a server is asked each time.
    """
    state = _store_state()
    if state is None:
        return
    # The state comes first: what somebody else writes from here on makes the next check say no.
    from yoyak.tracking.client import connect, translate_mlflow_errors

    client, entries = connect(), {}
    known = {**_read_memory(), tag: {"fingerprint": fingerprint, "name": name}}
    for key in (FINGERPRINT, RELEASE):
        entry = known.get(key)
        if isinstance(entry, dict) and {"fingerprint", "name"} <= entry.keys():
            with translate_mlflow_errors():
                folders = _version_folders(client, key, entry["fingerprint"], entry["name"])
            entries[key] = {"fingerprint": entry["fingerprint"], "name": entry["name"], "folders": folders}
    with suppress(OSError):
        write_json(_memory_file(), {**entries, "store": state})


def _is_known(tag: str, fingerprint: str, name: str) -> bool:
    if is_server(tracking_uri()):
        return _ask_server(tag, fingerprint, name)
    memory, state = _read_memory(), _store_state()
    entry = memory.get(tag)
    if not isinstance(entry, dict) or (entry.get("fingerprint"), entry.get("name")) != (fingerprint, name):
        return False
    if state is None or memory.get("store") != state:
        return False
    return any((Path(folder) / "MLmodel").is_file() for folder in entry.get("folders", ()))


def _store_state() -> dict[str, Any] | None:
    """Return what changes whenever SQLite's file is written to; None where that cannot be told.

    With the rollback journal, which MLflow uses, each transaction that writes increments the counter in the file's
    header (https://www.sqlite.org/fileformat.html). A journal beside the file is a write that has not ended.
    """
    file = sqlite_file(tracking_uri())
    if file is None or any(file.with_name(f"{file.name}-{kind}").exists() for kind in ("journal", "wal")):
        return None
    try:
        with file.open("rb") as content:
            header, status = content.read(100), file.stat()
    except OSError:
        return None
    # Bytes 18 and 19 are 1 with the rollback journal, 2 with a write-ahead log.
    if not header.startswith(b"SQLite format 3\0") or header[18:20] != b"\1\1":
        return None
    return {
        "file": str(file),
        "device": status.st_dev,
        "inode": status.st_ino,
        "size": status.st_size,
        "modified": status.st_mtime_ns,
        "changes": int.from_bytes(header[24:28], "big"),
    }


def _memory_file() -> Path:
    return project.project_root() / project.REGISTRY_MEMORY


def _read_memory() -> dict[str, Any]:
    try:
        memory = json.loads(_memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}


def _version_folders(client: MlflowClient, tag: str, fingerprint: str, name: str) -> list[str]:
    """Return the local folders of the versions that carry a fingerprint; none if the last release is another."""
    found = client.search_model_versions(f"name = '{name}' AND tags.`{tag}` = '{fingerprint}'")
    if found and tag == RELEASE:
        model = client.get_registered_model(name)
        if model.tags.get(RELEASE) != fingerprint or "serving" not in model.aliases:
            return []
    locations = (client.get_model_version_download_uri(name, version.version) for version in found)
    addresses = (urlparse(location) for location in locations)
    return [url2pathname(address.path) for address in addresses if address.scheme in ("", "file")]


def _ask_server(tag: str, fingerprint: str, name: str) -> bool:
    import requests

    # The filter has no escape for a quote.
    if "'" in name:
        return False
    try:
        with open_session() as session:

            def get(path: str, **query: str) -> Mapping[str, Any]:
                url = f"{tracking_uri().rstrip('/')}/api/2.0/mlflow/{path}"
                answer = session.get(url, params=query, timeout=TIMEOUT)
                answer.raise_for_status()
                return dict(answer.json())

            condition = f"name='{name}' AND tags.`{tag}`='{fingerprint}'"
            versions = get("model-versions/search", filter=condition).get("model_versions", [])
            if not versions or (tag == RELEASE and not _was_released_last(get, fingerprint, name)):
                return False
            return any(
                get(f"logged-models/{model_id}/artifacts/directories").get("files") for model_id in _model_ids(versions)
            )
    except (requests.exceptions.RequestException, ValueError, TypeError, AttributeError):
        return False


def _was_released_last(get: Any, fingerprint: str, name: str) -> bool:
    model = get("registered-models/get", name=name)["registered_model"]
    tags = {tag["key"]: tag.get("value") for tag in model.get("tags", [])}
    return tags.get(RELEASE) == fingerprint and any(alias["alias"] == "serving" for alias in model.get("aliases", []))


def _model_ids(versions: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for version in versions:
        source = str(version.get("source", ""))
        if source.startswith("models:/m-"):
            yield source.removeprefix("models:/")


def _overrides() -> list[tuple[str, str]]:
    """Return the variables that override params.yaml."""
    from yoyak.params.overrides import MEMBER_VARIABLES, PREFIX

    return sorted(item for item in os.environ.items() if item[0].startswith(PREFIX) or item[0] in MEMBER_VARIABLES)


def _md5(paths: Iterable[Path]) -> str:
    digest = hashlib.md5()
    for path in paths:
        content = path.read_bytes() if path.is_file() else b""
        digest.update(f"{path.as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()
