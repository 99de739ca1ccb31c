"""Reading data files in the user's format, CSV or JSON lines, through the column mapping in params.

The rows read here are raw; `yoyak.data.cleaning` cleans them. A file that cannot be parsed completely raises a
UserError with the file, row and line; nothing is guessed, and only blank lines are skipped.
"""

from __future__ import annotations

import codecs
import os
import tempfile
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal

from yoyak import params
from yoyak.data.encoding import PIECE, TextFile, open_text
from yoyak.data.facts import NO_FACTS, KnownFacts, parse_facts
from yoyak.data.parsing import CsvReader, JsonLinesReader, Record, json_type
from yoyak.data.records import Dialogue
from yoyak.errors import UserError, nearest

STANDARD_INPUT = "standard input"
OptionalColumn = Literal["summary", "group"]
"""Columns that are required only in some cases."""
_SUMMARY: tuple[OptionalColumn, ...] = ("summary",)
_BEGINNING = 4096
"""Bytes that show what a file without an extension is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRow:
    """One row of a file and its location in it."""

    value: Dialogue
    location: str
    """``row 3 (line 7)`` in a CSV file, with rows counted from 1 after the header; ``line 3`` in JSON lines."""
    group: str = ""
    """Key of rows that must stay in the same split, such as a conversation's; may be empty."""
    facts: KnownFacts = NO_FACTS


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTable:
    """The raw rows of one file, and its format."""

    file: str
    rows: Iterator[SourceRow]
    """Read as they are taken."""
    format: dict[str, Any]
    """For the report: format, encoding, bom, line_ends, blank_lines, columns. Complete once all rows were taken."""
    size: int
    """Bytes of the file."""
    position: Callable[[], int]
    """Returns how many of them were read."""


@dataclass(frozen=True, slots=True)
class ColumnMapping:
    """The columns of one file that are read."""

    id: str | None
    dialogue: str
    summaries: tuple[str, ...]
    topic: str | None
    slice: str | None
    group: str | None
    facts: str | None


@contextmanager
def open_table(
    source: str | os.PathLike[str] | IO[Any],
    data: params.Data,
    name: str,
    *,
    required: Collection[OptionalColumn] = _SUMMARY,
) -> Iterator[SourceTable]:
    """Yield one file, or a stream such as standard input, as rows of split ``name``, however large it is.

    The format is given by ``data.format``, else by the extension, else it is JSON lines if the text begins with ``{``.
    With ``data.columns.id`` null, rows are named ``<name>_0``, ``<name>_1`` and so on. Summaries and groups are
    optional unless they are ``required``. Raises UserError if the file is missing, empty, malformed, in another
    encoding, or lacks a required column: for a row, when it is taken.
    """
    with ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            path = Path(source)
            file, encoding = path.as_posix(), data.encoding
            raw: BinaryIO = stack.enter_context(_open_file(path))
        else:
            path, file = Path(), STANDARD_INPUT
            # It is read several times.
            raw = stack.enter_context(tempfile.TemporaryFile())
            encoding = "utf-8" if _copy(source, raw) else data.encoding
        size = raw.seek(0, os.SEEK_END)
        raw.seek(0)
        is_csv = _is_csv(data.format, path.suffix.lower(), raw.read(_BEGINNING))
        text = open_text(raw, encoding, file=file, column=data.columns.dialogue, is_csv=is_csv)
        if text.is_blank:
            raise UserError(
                f"{file} is empty: it needs {'a header and rows' if is_csv else 'one JSON object per line'}."
            )
        reader = CsvReader(text, file, size) if is_csv else JsonLinesReader(text, file)
        # Before fields are counted, because an error about the header reveals a wrong separator best.
        mapping = map_columns(reader.columns, data.columns, file, required)
        table_format = _describe_format(text, "csv" if is_csv else "jsonl", mapping, reader.columns, file)

        def rows() -> Generator[SourceRow]:
            for number, record in enumerate(reader.records()):
                yield to_row(record, mapping, file, f"{name}_{number}")
            table_format["blank_lines"] = reader.blank_lines

        with closing(rows()) as all_rows:
            yield SourceTable(file=file, rows=all_rows, format=table_format, size=size, position=raw.tell)


def _describe_format(
    text: TextFile, kind: str, mapping: ColumnMapping, columns: Sequence[str], file: str
) -> dict[str, Any]:
    others = (mapping.topic, mapping.slice, mapping.group, mapping.facts)
    used = (mapping.id, mapping.dialogue, *mapping.summaries, *others)
    return {
        "file": file,
        "format": kind,
        "encoding": text.encoding,
        "bom": text.has_bom,
        "line_ends": text.line_ends,
        "blank_lines": 0,
        "columns": {
            "id": mapping.id,
            "dialogue": mapping.dialogue,
            "summary": list(mapping.summaries),
            "topic": mapping.topic,
            "slice": mapping.slice,
            "group": mapping.group,
            "facts": mapping.facts,
            "unused": [column for column in columns if column not in used],
        },
    }


def _open_file(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except FileNotFoundError:
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings)
        raise UserError(f"{path.as_posix()} is missing{hint if 'did you mean' in hint else ''}.") from None
    except OSError as error:
        raise UserError(f"{path.as_posix()} cannot be read: {error.strerror or error}.") from error


def _copy(source: IO[Any], target: BinaryIO) -> bool:
    """Copy a stream; return whether it is one of text."""
    is_text = False
    while piece := source.read(PIECE):
        is_text = isinstance(piece, str)
        target.write(piece.encode("utf-8", "surrogatepass") if is_text else piece)
    return is_text


def _is_csv(requested: str, suffix: str, raw: bytes) -> bool:
    """Return whether a file is CSV, given how it begins."""
    if requested != "auto":
        return requested == "csv"
    if suffix in (".csv", ".jsonl", ".ndjson", ".json"):
        return suffix == ".csv"
    boms = codecs.BOM_UTF8 + codecs.BOM_UTF16_LE
    return not raw.lstrip(boms + b" \t\r\n\0").startswith(b"{")


def map_columns(
    names: Sequence[str], columns: params.Columns, file: str, required: Collection[OptionalColumn]
) -> ColumnMapping:
    """Return which configured columns a file has; raise UserError if it lacks a required one."""
    summary_columns = [columns.summary] if isinstance(columns.summary, str) else columns.summary
    summaries = tuple(column for column in summary_columns if column in names)
    required_columns = {"dialogue": columns.dialogue, "id": columns.id}
    if "summary" in required and not summaries:
        required_columns["summary"] = summary_columns[0] if summary_columns else "summary"
    if "group" in required:
        required_columns["group"] = columns.group
    for key, column in required_columns.items():
        if column is not None and column not in names:
            hint = nearest(column, [name for name in names if name])
            hint = hint if "did you mean" in hint else ""
            listed = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
            if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
                listed += " (separate fields with commas)"
            or_null = {
                "id": ", or to null to number the rows",
                "group": ", or to null to group only identical dialogues",
            }
            others = f" nor {', '.join(summary_columns[1:])}" if key == "summary" and summary_columns[1:] else ""
            raise UserError(
                f"{file} has no column '{column}'{others}{hint}: its columns are {listed}; "
                f"set data.columns.{key} to the right one{or_null.get(key, '')}."
            )

    def optional(column: str | None) -> str | None:
        return column if column in names else None

    return ColumnMapping(
        id=columns.id,
        dialogue=columns.dialogue,
        summaries=summaries,
        topic=optional(columns.topic),
        slice=optional(columns.slice),
        group=optional(columns.group),
        facts=optional(columns.facts),
    )


def to_row(record: Record, mapping: ColumnMapping, file: str, numbered_id: str) -> SourceRow:
    """Return the row of a record; ``numbered_id`` is its id where no column has one. Raises UserError if a field is
    missing or has another type.
    """

    def text(column: str | None, *, numbers: bool = False) -> str:
        value = record.fields.get(column) if column is not None else None
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if numbers and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise UserError(f"{file}, {record.location}: '{column}' must be a string, not {json_type(value)}.")

    for column in (mapping.dialogue, mapping.id):
        if column is not None and column not in record.fields:
            raise UserError(
                f"{file}, {record.location}: this object has no key '{column}'{nearest(column, record.fields)}."
            )
    dialogue = Dialogue(
        fname=numbered_id if mapping.id is None else text(mapping.id, numbers=True),
        dialogue=text(mapping.dialogue),
        summaries=tuple(text(column) for column in mapping.summaries),
        topic=text(mapping.topic, numbers=True),
        slice=text(mapping.slice, numbers=True),
    )
    return SourceRow(
        value=dialogue,
        location=record.location,
        group=text(mapping.group, numbers=True),
        facts=NO_FACTS
        if mapping.facts is None
        else parse_facts(record.fields.get(mapping.facts), f"{file}, {record.location}"),
    )
