"""The cleaned rows of a data file, on disk: of each row, only its place and four digests are in memory, 40 bytes.

Rows are compared by their digests, of 64 bits as everywhere in this project: of ten million different dialogues, two
have the same one with a probability of three in a million.
"""

from __future__ import annotations

import json
import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar, overload

import numpy as np

from yoyak.data.facts import KnownFacts, dump_facts, parse_facts
from yoyak.data.keys import dialogue_key, hash_text
from yoyak.data.reading import SourceRow
from yoyak.data.records import Dialogue

_WRITTEN_AT_ONCE = 1 << 20


class _Store:
    """A file without a name, which is gone with the object or the process."""

    def __init__(self, folder: Path | None) -> None:
        self.file, path = tempfile.mkstemp(prefix="yoyak-rows-", dir=folder)
        Path(path).unlink()
        weakref.finalize(self, os.close, self.file)
        self.starts = array("Q", [0])
        self.ids, self.keys, self.contents, self.groups = (array("Q") for _ in range(4))

    def fill(self, rows: Iterable[SourceRow]) -> None:
        pending, size = [], 0
        for row in rows:
            value = row.value
            key = dialogue_key(value.dialogue)
            self.ids.append(hash_text(value.fname))
            self.keys.append(hash_text(key))
            self.contents.append(hash_text("\0".join((value.dialogue, *value.summaries))))
            self.groups.append(hash_text(row.group or key))
            line = json.dumps(
                [
                    *(value.fname, value.dialogue, value.summaries, value.topic, value.slice, row.location, row.group),
                    dump_facts(row.facts),
                ],
                ensure_ascii=False,
            ).encode("utf-8", "surrogatepass")
            self.starts.append(self.starts[-1] + len(line))
            pending.append(line)
            size += len(line)
            if size > _WRITTEN_AT_ONCE:
                self._write(b"".join(pending))
                pending, size = [], 0
        self._write(b"".join(pending))

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self.file, data) :]

    def read(self, index: int) -> SourceRow:
        start, end = self.starts[index], self.starts[index + 1]
        line = os.pread(self.file, end - start, start)
        *texts, location, group, facts = json.loads(line.decode("utf-8", "surrogatepass"))
        fname, dialogue, summaries, topic, part = texts
        return SourceRow(
            value=Dialogue(fname=fname, dialogue=dialogue, summaries=tuple(summaries), topic=topic, slice=part),
            location=location,
            group=group,
            facts=parse_facts(facts, location) if facts else KnownFacts(),
        )


Row = TypeVar("Row", covariant=True)


class _Rows(Sequence[Row]):
    """Rows that are read when they are asked for, and equal those of any other sequence."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(row == another for row, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]


class SourceRows(_Rows[SourceRow]):
    """Some rows of a file, in an order; each is read when it is asked for."""

    def __init__(self, store: _Store, indices: np.ndarray) -> None:
        self._store = store
        self.indices = indices
        """[rows]: their places in the file."""

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[SourceRow]:
        return map(self._store.read, map(int, self.indices))

    @overload
    def __getitem__(self, index: int) -> SourceRow: ...
    @overload
    def __getitem__(self, index: slice) -> SourceRows: ...
    def __getitem__(self, index: int | slice) -> SourceRow | SourceRows:
        if isinstance(index, slice):
            return self.select(index)
        return self._store.read(int(self.indices[index]))

    def select(self, chosen: np.ndarray | slice) -> SourceRows:
        """Return some of the rows, by a mask or by their indices among these."""
        return SourceRows(self._store, self.indices[chosen])

    def at(self, indices: np.ndarray) -> SourceRows:
        """Return any rows of the file, by their places there."""
        return SourceRows(self._store, indices)

    @property
    def ids(self) -> np.ndarray:
        """[rows]: digests of their identifiers."""
        return self._take(self._store.ids)

    @property
    def keys(self) -> np.ndarray:
        """[rows]: digests of their dialogues, without whitespace and letter case."""
        return self._take(self._store.keys)

    @property
    def contents(self) -> np.ndarray:
        """[rows]: digests of their dialogues and summaries, as they are."""
        return self._take(self._store.contents)

    @property
    def groups(self) -> np.ndarray:
        """[rows]: digests of their groups, or of their dialogues where they have none."""
        return self._take(self._store.groups)

    def _take(self, values: array[int]) -> np.ndarray:
        return np.frombuffer(values, np.uint64)[self.indices] if len(values) else np.empty(0, np.uint64)


class Dialogues(_Rows[Dialogue]):
    """The rows of a split, read when they are asked for."""

    def __init__(self, rows: SourceRows, *, with_groups: bool) -> None:
        self._rows, self._with_groups = rows, with_groups

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Dialogue]:
        return map(self._convert, self._rows)

    @overload
    def __getitem__(self, index: int) -> Dialogue: ...
    @overload
    def __getitem__(self, index: slice) -> Dialogues: ...
    def __getitem__(self, index: int | slice) -> Dialogue | Dialogues:
        if isinstance(index, slice):
            return Dialogues(self._rows[index], with_groups=self._with_groups)
        return self._convert(self._rows[index])

    def _convert(self, row: SourceRow) -> Dialogue:
        return replace(row.value, group=row.group) if self._with_groups else row.value


def store_rows(rows: Iterable[SourceRow], folder: Path | None = None) -> SourceRows:
    """Write rows to a file without a name in ``folder``, by default that of temporary files, as they come."""
    store = _Store(folder)
    store.fill(rows)
    return SourceRows(store, np.arange(len(store.ids)))
