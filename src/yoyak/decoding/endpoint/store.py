"""The answers that a project has paid for, by a digest of the request, and what each member has spent.

A request is charged with the most that it can cost before it is sent, and with what it did cost once its answer is
there. So a process that is killed leaves too high a charge, never too low a one.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import RLock
from typing import Any

from yoyak import project
from yoyak.errors import UserError, first_line

TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, text TEXT NOT NULL, read INTEGER NOT NULL, written INTEGER NOT NULL, reason TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS charges (id INTEGER PRIMARY KEY, member TEXT NOT NULL, cost REAL NOT NULL);
CREATE INDEX IF NOT EXISTS charges_by_member ON charges (member);
"""
IN_MEMORY = ":memory:"
KEPT_IN_MEMORY = 4096
"""Answers that a process outside a project keeps: those that were used last."""
BATCH = 500
"""Keys in one query; SQLite limits them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint answered to a request."""

    text: str
    read: int
    """Tokens of the prompt."""
    written: int
    reason: str
    """Why it ended: ``stop``, ``length`` where max_tokens cut it, or what else the endpoint says."""


class Store:
    """A project's answers and charges, shared by all its processes.

    Outside a project they are in memory, and only for this process.
    """

    def __init__(self, path: Path | None) -> None:
        self._in_memory = path is None
        self._recent: OrderedDict[str, Answer] = OrderedDict()
        self._lock = RLock()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = sqlite3.connect(path or IN_MEMORY, timeout=60, isolation_level=None, check_same_thread=False)
            # Losing the last answers when the machine loses its power costs less than waiting for the disk each time.
            self._file.executescript(f"PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; {TABLES}")
        except sqlite3.Error as error:
            raise UserError(
                f"{path} cannot be opened ({first_line(error)}): move it away to start a new one."
            ) from error

    def find(self, keys: Iterable[str]) -> dict[str, Answer]:
        """Return the answers that are known, by key."""
        wanted, found = list(dict.fromkeys(keys)), {}
        if self._in_memory:
            return self._find_recent(wanted)
        for start in range(0, len(wanted), BATCH):
            part = wanted[start : start + BATCH]
            query = f"SELECT key, text, read, written, reason FROM answers WHERE key IN ({','.join('?' * len(part))})"
            with self._lock:
                found.update({key: Answer(*values) for key, *values in self._file.execute(query, part)})
        return found

    def _find_recent(self, wanted: Iterable[str]) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        with self._lock:
            for key in wanted:
                if key in self._recent:
                    self._recent.move_to_end(key)
                    found[key] = self._recent[key]
        return found

    def reserve(self, member: str, cost: float, budget: float | None) -> int | None:
        """Charge a member with the most that a request can cost, and return the charge; None if that is too much."""
        with self._transaction():
            if budget is not None and self.spent(member) + cost > budget:
                return None
            return self._file.execute("INSERT INTO charges (member, cost) VALUES (?, ?)", (member, cost)).lastrowid

    def settle(self, charge: int, cost: float) -> None:
        """Replace a charge by what the request has cost."""
        with self._transaction():
            if cost:
                self._file.execute("UPDATE charges SET cost = ? WHERE id = ?", (cost, charge))
            else:
                self._file.execute("DELETE FROM charges WHERE id = ?", (charge,))

    def keep(self, key: str, answer: Answer, charge: int, cost: float) -> None:
        """Keep an answer and settle its charge, both or neither."""
        with self._transaction():
            if self._in_memory:
                self._recent[key] = answer
                while len(self._recent) > KEPT_IN_MEMORY:
                    self._recent.popitem(last=False)
            else:
                values = (key, answer.text, answer.read, answer.written, answer.reason)
                self._file.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", values)
            self.settle(charge, cost)

    def spent(self, member: str) -> float:
        """Return what a member has cost, with what is reserved for requests that are under way or were lost."""
        with self._lock:
            [total] = self._file.execute("SELECT TOTAL(cost) FROM charges WHERE member = ?", (member,)).fetchone()
        return float(total)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            if self._file.in_transaction:
                yield
                return
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._file.execute("ROLLBACK")
                raise
            self._file.execute("COMMIT")


def open_store() -> Store:
    """Return the store of the project that the current folder is in, that of its experiments too."""
    root = project.project_root()
    in_project = any((root / name).exists() for name in project.MARKERS)
    return Store(root / project.ANSWERS if in_project else None)


def request_key(base_url: str, body: Mapping[str, Any]) -> str:
    """Return the digest of all that decides an answer: the endpoint, the model, the messages and the settings."""
    return hashlib.sha256(json.dumps([base_url, body], sort_keys=True, ensure_ascii=False).encode()).hexdigest()
