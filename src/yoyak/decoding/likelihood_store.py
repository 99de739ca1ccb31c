"""The log-likelihoods that a project has computed, by a digest of model, dialogue and text: only new ones cost time."""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

from yoyak import project
from yoyak.decoding.batches import show_progress
from yoyak.decoding.summarizer import Scorer
from yoyak.errors import UserError, first_line

TABLE = "CREATE TABLE IF NOT EXISTS likelihoods (key BLOB PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID"
BATCH = 500
"""Keys in one query; SQLite limits them."""
CHUNK = 64
"""Dialogues after which what has been computed is kept: an interruption loses no more."""

Texts = Sequence[Sequence[str]]
"""By dialogue."""


def find_or_score(
    load: Callable[[], Scorer], model: str, dialogues: Sequence[str], texts: Texts
) -> tuple[list[list[float]], int]:
    """Return a model's log-likelihood of each text of each dialogue, and how many were not known.

    What is not a finite number is returned, but not kept.

    Args:
        load: Loads the model; called only if something is not known.
        model: A digest of all that decides a likelihood: its files, and the code and libraries that compute it.
    """
    keys = [[_make_key(model, dialogue, text) for text in row] for dialogue, row in zip(dialogues, texts, strict=True)]
    path = project.project_root() / project.LIKELIHOODS
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=60)) as file:
            file.execute("PRAGMA journal_mode=WAL")
            file.execute(TABLE)
            known = _find(file, [key for row in keys for key in row])
            missing = [
                [text for text, key in zip(row, row_keys, strict=True) if key not in known]
                for row, row_keys in zip(texts, keys, strict=True)
            ]
            if any(missing):
                known |= _score(file, load(), model, dialogues, missing)
    except sqlite3.Error as error:
        raise UserError(f"{path} cannot be used ({first_line(error)}): delete it to compute all again.") from error
    return [[known[key] for key in row] for row in keys], sum(map(len, missing))


def _score(
    file: sqlite3.Connection, scorer: Scorer, model: str, dialogues: Sequence[str], texts: Texts
) -> dict[bytes, float]:
    """Return and keep the log-likelihoods of all texts, by key."""
    # Dialogues of similar length share a batch.
    order = sorted(range(len(texts)), key=lambda index: -len(dialogues[index]))
    order = [index for index in order if texts[index]]
    scored: dict[bytes, float] = {}
    with show_progress(sum(map(len, texts)), "scoring", "candidate", visible=True) as advance:
        for start in range(0, len(order), CHUNK):
            part = order[start : start + CHUNK]
            scores = scorer.log_likelihoods([dialogues[index] for index in part], [texts[index] for index in part])
            new = {
                _make_key(model, dialogues[index], text): value
                for index, values in zip(part, scores, strict=True)
                for text, value in zip(texts[index], values, strict=True)
            }
            with file:
                file.executemany(
                    "INSERT OR REPLACE INTO likelihoods VALUES (?, ?)",
                    [item for item in new.items() if math.isfinite(item[1])],
                )
            scored |= new
            advance(sum(len(texts[index]) for index in part))
    return scored


def _find(file: sqlite3.Connection, keys: Sequence[bytes]) -> dict[bytes, float]:
    found: dict[bytes, float] = {}
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        marks = ",".join("?" * len(part))
        found.update(file.execute(f"SELECT key, value FROM likelihoods WHERE key IN ({marks})", part))
    return found


def _make_key(model: str, dialogue: str, text: str) -> bytes:
    return hashlib.sha256(json.dumps([model, dialogue, text]).encode()).digest()
