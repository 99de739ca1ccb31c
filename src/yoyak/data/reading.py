"""Reading other people's data files, CSV or JSON lines, through the column mapping of params.

What is read here is raw: `yoyak.data.cleaning` makes it fit for use. A file that cannot be understood as a whole is
a UserError that names the file, the row and the line; nothing is guessed and nothing is skipped but blank lines.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from yoyak import params
from yoyak.data.encoding import decode
from yoyak.data.records import Dialogue
from yoyak.errors import UserError, nearest

STANDARD_INPUT = "standard input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a file and where it stands."""

    value: Dialogue
    place: str
    """``row 3 (line 7)`` of a CSV file, counted from 1 below its header; ``line 3`` of JSON lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The raw rows of one file, and what was seen of its form."""

    file: str
    rows: list[Row]
    facts: dict[str, Any]
    """JSON-able: format, encoding, bom, line_ends, blank_lines, columns."""


@dataclass(frozen=True, slots=True)
class _Record:
    place: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Mapping:
    """The columns of one file that are used."""

    id: str | None
    dialogue: str
    summaries: tuple[str, ...]
    topic: str | None
    slice: str | None


def read_table(
    source: str | os.PathLike[str] | IO[Any], data: params.Data, name: str, *, prediction: bool = False
) -> Table:
    """Read one file, or a stream such as standard input, as rows of split ``name``.

    The format is ``data.format``, else what the extension says, else JSON lines if the text begins with ``{``.
    With ``data.columns.id`` null, rows are numbered ``<name>_0`` and up. With ``prediction`` a file may lack every
    summary column. Raises UserError for a file that is missing, empty, in another encoding, not well-formed, or
    without a mapped column.
    """
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        file, raw, encoding = path.as_posix(), _read_bytes(path), data.encoding
    else:
        path, file = Path(), STANDARD_INPUT
        content = source.read()
        raw = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        encoding = "utf-8" if isinstance(content, str) else data.encoding
    is_csv = _is_csv(data.format, path.suffix.lower(), raw)
    text = decode(raw, encoding, file=file, column=data.columns.dialogue, is_csv=is_csv)
    if not text.strip():
        raise UserError(f"{file} is empty: it needs {'a header and rows' if is_csv else 'one JSON object a line'}.")
    if is_csv:
        lines, blank = _parse_csv(text, file)
        names = _header(lines[0], file)
        # A wrong separator shows in the header first; the number of fields would only puzzle.
        mapping = _resolve(names, data.columns, file, prediction)
        records = _csv_records(lines[1:], names, file)
    else:
        names, records, blank = _jsonl_records(text, file)
        mapping = _resolve(names, data.columns, file, prediction)
    crlf = text.count("\r\n")
    used = [mapping.id, mapping.dialogue, *mapping.summaries, mapping.topic, mapping.slice]
    facts = {
        "file": file,
        "format": "csv" if is_csv else "jsonl",
        "encoding": encoding,
        "bom": raw.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)),
        "line_ends": {"lf": text.count("\n") - crlf, "crlf": crlf, "cr": text.count("\r") - crlf},
        "blank_lines": blank,
        "columns": {
            "id": mapping.id,
            "dialogue": mapping.dialogue,
            "summary": list(mapping.summaries),
            "topic": mapping.topic,
            "slice": mapping.slice,
            "unused": [column for column in names if column not in used],
        },
    }
    rows = [
        Row(value=_dialogue(record, mapping, file, f"{name}_{number}"), place=record.place)
        for number, record in enumerate(records)
    ]
    return Table(file=file, rows=rows, facts=facts)


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings)
        raise UserError(f"{path.as_posix()} is missing{hint if 'did you mean' in hint else ''}.") from None
    except OSError as error:
        raise UserError(f"{path.as_posix()} cannot be read: {error.strerror or error}.") from error


def _is_csv(wanted: str, suffix: str, raw: bytes) -> bool:
    if wanted != "auto":
        return wanted == "csv"
    if suffix in (".csv", ".jsonl", ".ndjson", ".json"):
        return suffix == ".csv"
    marks = codecs.BOM_UTF8 + codecs.BOM_UTF16_LE
    return not raw[:4096].lstrip(marks + b" \t\r\n\0").startswith(b"{")


def _header(line: tuple[int, list[str]], file: str) -> list[str]:
    names = [name.strip() for name in line[1]]
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{file}, header (line {line[0]}): two columns are named '{repeated}', rename one.")
    return names


def _csv_records(lines: Sequence[tuple[int, list[str]]], names: list[str], file: str) -> list[_Record]:
    if not lines:
        raise UserError(f"{file} has a header and no rows: it needs at least one.")
    records = []
    for number, (line, fields) in enumerate(lines, 1):
        place = f"row {number} (line {line})"
        if len(fields) != len(names):
            raise UserError(
                f"{file}, {place}: {len(fields)} field{'' if len(fields) == 1 else 's'} where the header has "
                f"{len(names)}; put quotes around a field that holds a comma, a quote or a line break."
            )
        records.append(_Record(place, dict(zip(names, fields, strict=True))))
    return records


def _parse_csv(text: str, file: str) -> tuple[list[tuple[int, list[str]]], int]:
    """Return ``(first line, fields)`` of every row that is not blank, the header included, and the blank ones."""
    # The csv module refuses fields over 131,072 characters unless told otherwise, for the whole process.
    limit = csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    blank, first = 0, 1
    try:
        for fields in reader:
            if fields:
                rows.append((first, fields))
            else:
                blank += 1
            first = reader.line_num + 1
    except csv.Error as error:
        place = f"row {len(rows)} (line {first})" if rows else f"header (line {first})"
        lines = list(io.StringIO(text, newline=""))[first - 1 : reader.line_num]
        raise UserError(
            f"{file}, {place}: the quote that opens on line {_open_quote(lines, first)} is not closed rightly; "
            "end the field with a quote, and double each quote inside it."
        ) from error
    finally:
        csv.field_size_limit(limit)
    return rows, blank


def _open_quote(lines: Sequence[str], first: int) -> int:
    """Return the line on which the last quoted field of a broken row begins; ``first`` is the number of lines[0]."""
    state, opened = "start", first
    for number, line in enumerate(lines, first):
        for char in line:
            if state == "quoted":
                state = "closing" if char == '"' else state
            elif char == '"' and state in ("start", "closing"):
                opened = number if state == "start" else opened
                state = "quoted"
            elif char in ",\r\n":
                state = "start"
            elif state == "closing":
                return opened
            else:
                state = "plain"
    return opened


def _jsonl_records(text: str, file: str) -> tuple[list[str], list[_Record], int]:
    """Return the keys of all objects in the order of their first use, the records and the number of blank lines."""
    names: dict[str, None] = {}
    records: list[_Record] = []
    blank = 0
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if not line.strip():
            blank += 1
            continue
        try:
            value = json.loads(line, strict=False)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or too big"
            raise UserError(
                f"{file}, line {number}: this is not JSON ({reason}); write one JSON object on each line."
            ) from error
        if not isinstance(value, dict):
            raise UserError(
                f"{file}, line {number}: this is {_kind(value)}, not an object; write one JSON object on each line."
            )
        names.update(dict.fromkeys(value))
        records.append(_Record(f"line {number}", value))
    return list(names), records, blank


def _resolve(names: Sequence[str], columns: params.Columns, file: str, prediction: bool) -> _Mapping:
    """Return the mapped columns that a file has; raise UserError where a needed one is missing."""
    wanted = [columns.summary] if isinstance(columns.summary, str) else columns.summary
    summaries = tuple(column for column in wanted if column in names)
    needed = {"dialogue": columns.dialogue, "id": columns.id}
    if not summaries and not prediction:
        needed["summary"] = wanted[0] if wanted else "summary"
    for key, column in needed.items():
        if column is not None and column not in names:
            hint = nearest(column, [name for name in names if name])
            hint = hint if "did you mean" in hint else ""
            shown = ", ".join(names[:20]) + (", …" if len(names) > 20 else "")
            if len(names) == 1 and any(mark in names[0] for mark in ";\t|"):
                shown += " (separate fields by commas)"
            or_null = ", or to null to number the rows" if key == "id" else ""
            others = f" nor {', '.join(wanted[1:])}" if key == "summary" and wanted[1:] else ""
            raise UserError(
                f"{file} has no column '{column}'{others}{hint}: its columns are {shown}; "
                f"set data.columns.{key} to the right one{or_null}."
            )
    return _Mapping(
        id=columns.id,
        dialogue=columns.dialogue,
        summaries=summaries,
        topic=columns.topic if columns.topic in names else None,
        slice=columns.slice if columns.slice in names else None,
    )


def _dialogue(record: _Record, mapping: _Mapping, file: str, number: str) -> Dialogue:
    def text(column: str | None, *, numbers: bool = False) -> str:
        value = record.fields.get(column) if column is not None else None
        if value is None:
            return ""
        if isinstance(value, str):
            return value
        if numbers and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise UserError(f"{file}, {record.place}: '{column}' must be a string, not {_kind(value)}.")

    for column in (mapping.dialogue, mapping.id):
        if column is not None and column not in record.fields:
            raise UserError(
                f"{file}, {record.place}: this object has no key '{column}'{nearest(column, record.fields)}."
            )
    fname = number if mapping.id is None else text(mapping.id, numbers=True)
    return Dialogue(
        fname=fname,
        dialogue=text(mapping.dialogue),
        summaries=tuple(text(column) for column in mapping.summaries),
        topic=text(mapping.topic, numbers=True),
        slice=text(mapping.slice, numbers=True),
    )


def _kind(value: Any) -> str:
    """Name a JSON value's type as a person would."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")
