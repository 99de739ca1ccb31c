"""What is written of each part: its summaries, and its rejected rows with the reason."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from yoyak.batch_scoring.sources import Part
from yoyak.batch_scoring.storage import Storage, delete, list_names, write_whole

REJECTED = "_rejected"
"""The folder of rejected rows. Spark, pyarrow and pandas take the folder above it for one table and leave it out."""
SUCCESS = "_SUCCESS"
"""The empty file that says that all parts are there, as Spark writes it."""
PART = re.compile(r"part-(\d{5,})\.parquet")
_RUN, _COUNTS = b"yoyak.run", b"yoyak.counts"
"""Metadata of a part's file: `worker.Job.run`, and its numbers of summarized, rejected and truncated rows."""
_READERS = 8
SUMMARIES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("summary", pa.string(), nullable=False),
        pa.field("truncated", pa.bool_(), nullable=False),
        pa.field("read", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)
REJECTIONS = pa.schema(
    [
        pa.field("id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
    ]
)


class Summarized(NamedTuple):
    """A row with its summary."""

    id: str
    row: int
    """Its number in its file, from 1."""
    summary: str
    truncated: bool
    read: str


class Rejected(NamedTuple):
    """A row without a summary."""

    id: str
    """Empty where the row does not say."""
    row: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartResult:
    """The rows of a part that is done."""

    number: int
    summarized: int
    rejected: int
    truncated: int

    @property
    def rows(self) -> int:
        """All of its rows."""
        return self.summarized + self.rejected


def part_name(number: int) -> str:
    """Return the name of a part's file."""
    return f"part-{number:05d}.parquet"


def write_part(
    output: Storage,
    run: str,
    model: str,
    source: str,
    number: int,
    summarized: Sequence[Summarized],
    rejected: Sequence[Rejected],
) -> PartResult:
    """Write a part. It counts as done once its summaries are there, so they are written last.

    Args:
        run: Digest of everything that decides the summaries.
        model: The model's name.
        source: The file that the rows are of.
    """
    result = PartResult(
        number=number,
        summarized=len(summarized),
        rejected=len(rejected),
        truncated=sum(row.truncated for row in summarized),
    )
    name, apart = part_name(number), output.join(REJECTED, part_name(number))
    if rejected:
        rows = [{"id": row.id or None, "reason": row.reason, "source": source, "row": row.row} for row in rejected]
        write_whole(output, apart, _to_parquet(pa.Table.from_pylist(rows, REJECTIONS)))
    else:
        delete(output, apart)
    table = pa.Table.from_pylist([{**row._asdict(), "model": model, "source": source} for row in summarized], SUMMARIES)
    counts = f"{result.summarized} {result.rejected} {result.truncated}"
    table = table.replace_schema_metadata({_RUN: run.encode(), _COUNTS: counts.encode()})
    write_whole(output, output.join(name), _to_parquet(table))
    return result


def _to_parquet(table: pa.Table) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def find_done(output: Storage, run: str, parts: Iterable[Part]) -> dict[int, PartResult]:
    """Return the parts that are already written, by number: those of the same run, with as many rows as planned."""
    there = list_names(output)
    candidates = [part for part in parts if part_name(part.number) in there]
    with ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(lambda part: _read_result(output, run, part), candidates)
        return {result.number: result for result in found if result is not None}


def _read_result(output: Storage, run: str, part: Part) -> PartResult | None:
    try:
        with output.filesystem.open_input_file(output.join(part_name(part.number))) as file:
            metadata = pq.read_metadata(file)
    except (pa.ArrowException, OSError):
        return None
    values = metadata.metadata or {}
    if values.get(_RUN) != run.encode():
        return None
    summarized, rejected, truncated = map(int, values[_COUNTS].split())
    result = PartResult(number=part.number, summarized=summarized, rejected=rejected, truncated=truncated)
    return result if (result.rows, result.summarized) == (part.rows, metadata.num_rows) else None


def remove_unfinished(output: Storage) -> None:
    """Remove what processes that were killed have left of files that they were writing."""
    _remove(output, lambda name: name.startswith(".part-"))


def remove_results(output: Storage) -> None:
    """Remove all parts, their rejected rows and the mark of success."""
    _remove(output, PART.fullmatch)
    delete(output, output.join(SUCCESS))


def _remove(output: Storage, is_meant: Callable[[str], object]) -> None:
    for folder in ((), (REJECTED,)):
        for name in filter(is_meant, list_names(output, *folder)):
            delete(output, output.join(*folder, name))
