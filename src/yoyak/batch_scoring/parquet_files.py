"""The rows of Parquet files, from any row on, without holding a file in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from yoyak import params
from yoyak.batch_scoring.storage import Storage
from yoyak.errors import UserError, first_line

_BATCH_ROWS = 256


def count_rows(storage: Storage, path: str, columns: params.Columns) -> tuple[int, list[str]]:
    """Return how many rows a file has, and its columns, from its footer.

    Raises UserError if it is not Parquet, if two columns have the same name, or if its dialogues are not texts, or its
    ids and topics neither texts nor numbers.
    """
    with _open(storage, path) as file:
        # A column without any row may have no type yet.
        if file.metadata.num_rows:
            _check_columns(file.schema_arrow, columns, storage.show(path))
        return file.metadata.num_rows, list(file.schema_arrow.names)


def _check_columns(schema: pa.Schema, columns: params.Columns, name: str) -> None:
    for column in (columns.dialogue, columns.id, columns.topic):
        if column is None or column not in schema.names:
            continue
        if schema.names.count(column) > 1:
            raise UserError(f"{name}: two columns are named '{column}'; rename one of them.")
        kind = schema.field(column).type
        if column == columns.dialogue and not _is_text(kind):
            raise UserError(f"{name}: the column '{column}' holds {kind}: it has to hold strings.")
        if not (_is_text(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_null(kind)):
            raise UserError(f"{name}: the column '{column}' holds {kind}: it has to hold strings or numbers.")


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _open(storage: Storage, path: str) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(storage.filesystem.open_input_file(path))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{storage.show(path)} cannot be read as Parquet ({first_line(error)}).") from error


def read_rows(
    storage: Storage, path: str, first: int, count: int, columns: Sequence[str]
) -> Iterator[Mapping[str, Any]]:
    """Yield up to ``count`` rows from row ``first`` on, counted from 0.

    A row in the middle of a row group can only be reached by reading the group from its beginning. Whoever asks for
    later rows of the same file next, as a worker does, goes on where it was.
    """
    cursor = _last.pop() if _last else None
    if cursor is None or not cursor.can_reach(storage, path, first, columns):
        if cursor is not None:
            cursor.close()
        cursor = _Cursor(storage, path, first, columns)
    yield from cursor.read(first, count)
    # Only now: after an error, nobody knows where it is.
    _last.append(cursor)


class _Cursor:
    """A file that is read in one direction."""

    def __init__(self, storage: Storage, path: str, first: int, columns: Sequence[str]) -> None:
        self.key = (storage, path, tuple(columns))
        self.file = _open(storage, path)
        self.starts = [0]
        for group in range(self.file.metadata.num_row_groups):
            self.starts.append(self.starts[-1] + self.file.metadata.row_group(group).num_rows)
        self.position = self._group_start(first)
        groups = [group for group in range(len(self.starts) - 1) if self.starts[group] >= self.position]
        self.batches = self.file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(columns))
        self.batch: pa.RecordBatch | None = None

    def _group_start(self, row: int) -> int:
        return max(start for start in self.starts if start <= row)

    def can_reach(self, storage: Storage, path: str, first: int, columns: Sequence[str]) -> bool:
        """Return whether a row is ahead, and no row group begins in between: then a new start is nearer."""
        return self.key == (storage, path, tuple(columns)) and self._group_start(first) <= self.position <= first

    def read(self, first: int, count: int) -> Iterator[Mapping[str, Any]]:
        """Yield rows, which have to be ahead."""
        end = first + count
        while self.position < end:
            if self.batch is None or not self.batch.num_rows:
                self.batch = next(self.batches, None)
                if self.batch is None:
                    return
                continue
            skipped = min(max(first - self.position, 0), self.batch.num_rows)
            taken = min(end - self.position - skipped, self.batch.num_rows - skipped)
            rows = self.batch.slice(skipped, taken).to_pylist()
            self.position += skipped + taken
            self.batch = self.batch.slice(skipped + taken)
            yield from rows

    def close(self) -> None:
        """Close the file."""
        self.file.close(force=True)


_last: list[_Cursor] = []
"""The file that this process read last, if any; a process reads one part at a time."""
