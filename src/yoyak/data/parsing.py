"""Parsing a data file, CSV or JSON lines, into records with their location in the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The unprocessed fields of one row, by column."""

    location: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvRows:
    """The non-blank rows of a CSV file."""

    header: list[str]
    lines: list[tuple[int, list[str]]]
    """Line number of each row's first line, and its fields."""
    blank_lines: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonLines:
    """The objects of a JSON-lines file."""

    keys: list[str]
    """Keys of all objects, in order of first occurrence."""
    records: list[Record]
    blank_lines: int


def parse_csv(text: str, file: str) -> CsvRows:
    """Parse CSV text with a header. Raises UserError for an unclosed quote or a repeated column name."""
    # By default the csv module rejects fields over 131,072 characters; the limit is global to the process.
    limit = csv.field_size_limit(len(text) + 1)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[int, list[str]]] = []
    blank_lines, first_line = 0, 1
    try:
        for fields in reader:
            if fields:
                rows.append((first_line, fields))
            else:
                blank_lines += 1
            first_line = reader.line_num + 1
    except csv.Error as error:
        location = f"row {len(rows)} (line {first_line})" if rows else f"header (line {first_line})"
        lines = list(io.StringIO(text, newline=""))[first_line - 1 : reader.line_num]
        raise UserError(
            f"{file}, {location}: the quote opened on line {_find_open_quote(lines, first_line)} is not closed "
            "properly; end the field with a quote, and double each quote inside it."
        ) from error
    finally:
        csv.field_size_limit(limit)
    header_line, fields = rows[0]
    header = [name.strip() for name in fields]
    repeated = next((name for name in header if name and header.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"{file}, header (line {header_line}): two columns are named '{repeated}'; rename one of them.")
    return CsvRows(header=header, lines=rows[1:], blank_lines=blank_lines)


def csv_records(rows: CsvRows, file: str) -> list[Record]:
    """Return the rows by column. Raises UserError if there are none, or one has the wrong number of fields."""
    if not rows.lines:
        raise UserError(f"{file} has a header but no rows: it needs at least one.")
    records = []
    for number, (line, fields) in enumerate(rows.lines, 1):
        location = f"row {number} (line {line})"
        try:
            records.append(Record(location=location, fields=name_fields(rows.header, fields)))
        except UserError as error:
            raise UserError(f"{file}, {location}: {error}") from error
    return records


def name_fields(header: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a row of CSV by column. Raises UserError if there are fewer or more than columns."""
    if len(fields) != len(header):
        raise UserError(
            f"{len(fields)} field{'' if len(fields) == 1 else 's'}, but the header has {len(header)}; quote fields "
            "that contain a comma, a quote or a line break."
        )
    return dict(zip(header, fields, strict=True))


def parse_json_lines(text: str, file: str) -> JsonLines:
    """Parse one JSON object per line; blank lines are skipped. Raises UserError for a line that is not an object."""
    keys: dict[str, None] = {}
    records: list[Record] = []
    blank_lines = 0
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if not line.strip():
            blank_lines += 1
            continue
        try:
            value = parse_json_line(line)
        except UserError as error:
            raise UserError(f"{file}, line {number}: {error}") from error
        keys.update(dict.fromkeys(value))
        records.append(Record(location=f"line {number}", fields=value))
    return JsonLines(keys=list(keys), records=records, blank_lines=blank_lines)


def parse_json_line(line: str) -> dict[str, Any]:
    """Return the object of one line of JSON lines. Raises UserError if it is not one."""
    try:
        value = json.loads(line, strict=False)
    except (ValueError, RecursionError) as error:
        reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply or too large"
        raise UserError(f"this is not valid JSON ({reason}); write one JSON object per line.") from error
    if not isinstance(value, dict):
        raise UserError(f"this is {json_type(value)}, not an object; write one JSON object per line.")
    return value


def json_type(value: Any) -> str:
    """Return the type of a JSON value in words, for an error."""
    if value is None:
        return "null"
    names = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}
    return names.get(type(value), "an object")


def _find_open_quote(lines: Sequence[str], first: int) -> int:
    """Return the line on which the last quoted field of a malformed row begins; ``first`` is the number of lines[0]."""
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
