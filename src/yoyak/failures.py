"""Members and ensembles that failed while the rest of the pipeline went on (`train.on_error: isolate`).

The stage that fails writes a folder with the reason where its result would be; the stages after it go on without it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from yoyak.files import atomic_path, write_json

FAILURE_FILE = "failure.json"


def write_failure(folder: Path, reason: str, **details: str) -> None:
    """Replace a stage's folder by one that says why there is no result."""
    with atomic_path(folder) as work:
        work.mkdir()
        write_json(work / FAILURE_FILE, {"reason": reason, **details})


def read_failure(folder: Path) -> str:
    """Return why the stage that writes this folder failed; empty if it did not."""
    path = folder / FAILURE_FILE
    return str(json.loads(path.read_text(encoding="utf-8"))["reason"]) if path.is_file() else ""


def find_failures(folders: Mapping[str, Path]) -> dict[str, str]:
    """Return the reason of each stage that failed, by name; ``folders`` are what they write."""
    reasons = {name: read_failure(folder) for name, folder in folders.items()}
    return {name: reason for name, reason in reasons.items() if reason}


def describe_failures(failures: Mapping[str, str], names: Iterable[str] | None = None) -> str:
    """Return the failures, or those of ``names``, as part of a sentence."""
    chosen = failures if names is None else [name for name in names if name in failures]
    return "; ".join(f"{name} failed ({failures[name].rstrip('.')})" for name in chosen)
