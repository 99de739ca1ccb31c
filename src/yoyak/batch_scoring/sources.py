"""The files that are summarized, how they are cut into parts, and the rows of a part.

A part is a number of consecutive rows of one file, and no process holds more than that. In Parquet the footer says
where rows are; CSV and JSON lines are gone through once to find where parts begin.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from encodings.aliases import aliases
from itertools import pairwise
from typing import Any, Literal

from yoyak import params
from yoyak.batch_scoring.parquet_files import count_rows, read_rows
from yoyak.batch_scoring.storage import COMPRESSED, FoundFile, Storage, describe_file, find_files, read_range
from yoyak.batch_scoring.text_files import Boundary, read_csv, read_json_lines, scan_csv, scan_json_lines
from yoyak.data.reading import map_columns
from yoyak.errors import UserError, nearest

Kind = Literal["parquet", "csv", "jsonl"]
KINDS: Mapping[str, Kind] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
"""By how a file's name ends."""
_STATEFUL = ("iso2022", "hz", "utf-7")
"""Codecs in which a byte of ASCII can be a part of a letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file whose rows are summarized."""

    path: str
    size: int
    modified: str | None
    kind: Kind
    columns: tuple[str, ...]
    """Of CSV, all of them in their order; else those that are known."""
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Consecutive rows of a file, which one process summarizes and writes."""

    number: int
    source: Source
    first: int
    """The number of rows of the file before it."""
    rows: int
    offset: int = 0
    """Where it begins in a text file, in bytes."""
    length: int = 0
    """Its bytes in a text file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawRow:
    """A row as its file has it, or why it cannot be read."""

    number: int
    """Of its file, from 1."""
    fields: Mapping[str, Any]
    problem: str = ""


def columns_to_read(columns: params.Columns) -> params.Columns:
    """Return the columns of which a summary is made: the id, the dialogue and its topic."""
    return columns.model_copy(update={"summary": [], "slice": None, "group": None, "facts": None})


def find_sources(storage: Storage) -> list[FoundFile]:
    """Return the files that the input names. Raises UserError where there are none, or one has an unknown format."""
    files = find_files(storage, tuple(KINDS))
    for file in files:
        if file.path.lower().endswith(COMPRESSED):
            raise UserError(
                f"{storage.show(file.path)} is compressed, and parts are read from the middle of a file: unpack it, or "
                "convert it to Parquet, which is compressed inside."
            )
    return files


def plan_parts(
    storage: Storage, files: Sequence[FoundFile], data: params.Data, part_rows: int, *, progress: bool = False
) -> list[Part]:
    """Cut files into parts of at most ``part_rows`` rows. Raises UserError where a file cannot be read at all."""
    from tqdm import tqdm

    parts: list[Part] = []
    with tqdm(files, desc="finding rows", unit="file", disable=not progress, delay=1) as bar:
        for file in bar:
            kind = _find_kind(storage, file, data)
            source, boundaries = _open_source(storage, file, kind, data, part_rows)
            if not source.columns and not source.rows:
                continue  # An empty file, as a writer of many files leaves one where it has no rows.
            map_columns(source.columns, columns_to_read(data.columns), storage.show(file.path), ())
            for begin, end in pairwise(boundaries):
                parts.append(
                    Part(
                        number=len(parts),
                        source=source,
                        first=begin.row,
                        rows=end.row - begin.row,
                        offset=begin.offset,
                        length=end.offset - begin.offset,
                    )
                )
    if not parts:
        raise UserError(f"{storage.show()} holds no dialogue: give files with at least one row.")
    return parts


def _find_kind(storage: Storage, file: FoundFile, data: params.Data) -> Kind:
    suffix = "." + file.path.rpartition(".")[2].lower()
    if suffix in KINDS:
        return KINDS[suffix]
    if data.format != "auto":
        return data.format
    raise UserError(
        f"{storage.show(file.path)} does not say what it is: let its name end in "
        f"{', '.join(KINDS)}, or set data.format."
    )


def _open_source(
    storage: Storage, file: FoundFile, kind: Kind, data: params.Data, part_rows: int
) -> tuple[Source, Sequence[Boundary]]:
    """Return a file's columns and number of rows, and where its parts begin and the last one ends."""
    name = storage.show(file.path)
    if kind == "parquet":
        columns: Sequence[str]
        rows, columns = count_rows(storage, file.path, data.columns)
        boundaries: Sequence[Boundary] = [Boundary(row, 0) for row in (*range(0, rows, part_rows), rows)]
    else:
        _check_encoding(data.encoding, name)
        scan = scan_csv if kind == "csv" else scan_json_lines
        with storage.filesystem.open_input_stream(file.path, compression=None) as stream:
            text = scan(stream, data.encoding, part_rows, name)
        columns, boundaries, rows = text.columns, text.boundaries, text.boundaries[-1].row
    source = Source(
        path=file.path, size=file.size, modified=file.modified, kind=kind, columns=tuple(columns), rows=rows
    )
    return source, boundaries if rows else []


def _check_encoding(encoding: str, name: str) -> None:
    """Raise UserError for an encoding in which a line break or a quote can be a part of a letter."""
    marks = '",\n{}'
    try:
        codec = codecs.lookup(encoding).name
        cuttable = codec == "utf-8-sig" or marks.encode(codec) == marks.encode("ascii")
    except (LookupError, ValueError) as error:
        names = {name.replace("_", "-") for name in aliases.values()}
        raise UserError(f"data.encoding: no encoding is named '{encoding}'{nearest(encoding, names)}.") from error
    if not cuttable or codec.startswith(_STATEFUL):
        raise UserError(
            f"{name} is to be read as {encoding}, which cannot be cut into parts: save it as UTF-8 or as Parquet."
        )


def read_part(storage: Storage, part: Part, data: params.Data) -> Iterator[RawRow]:
    """Yield the rows of a part; one that cannot be read has the reason instead of fields.

    Raises UserError if the file is no longer the one that was cut into parts.
    """
    source, encoding = part.source, data.encoding
    found = describe_file(storage, source.path)
    if found is None or (found.size, found.modified) != (source.size, source.modified):
        raise UserError(
            f"{storage.show(source.path)} has changed since it was cut into parts: run the command again with "
            "--start-over."
        )
    if source.kind == "parquet":
        wanted = {data.columns.id, data.columns.dialogue, data.columns.topic}
        columns = [column for column in source.columns if column in wanted]
        rows = read_rows(storage, source.path, part.first, part.rows, columns)
        read: Iterator[tuple[Mapping[str, Any], str]] = ((fields, "") for fields in rows)
    else:
        raw = read_range(storage, source.path, part.offset, part.length)
        read = read_csv(raw, encoding, source.columns) if source.kind == "csv" else read_json_lines(raw, encoding)
    count = 0
    for fields, problem in read:
        count += 1
        yield RawRow(number=part.first + count, fields=fields, problem=problem)
    if count != part.rows:
        # A file system that does not say when a file was written.
        raise UserError(
            f"{storage.show(source.path)} has changed: part {part.number} had {part.rows} rows and now has {count}; "
            "run the command again with --start-over."
        )
