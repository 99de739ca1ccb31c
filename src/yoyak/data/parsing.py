"""Parsing a data file, CSV or JSON lines, into records with their location in the file, one after the other."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from yoyak.data.encoding import TextFile
from yoyak.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The unprocessed fields of one row, by column."""

    location: str
    fields: dict[str, Any]


class CsvReader:
    """The records of a CSV file with a header, and the number of blank lines that were passed so far."""

    def __init__(self, text: TextFile, file: str, size: int) -> None:
        """Read the header of ``file``, which has ``size`` bytes.

        Raises UserError for an unclosed quote or a repeated column name.
        """
        self.blank_lines = 0
        self._text, self._file, self._size = text, file, size
        self._rows = self._read()
        line, fields = next(self._rows)
        self.columns = [name.strip() for name in fields]
        repeated = next((name for name in self.columns if name and self.columns.count(name) > 1), None)
        if repeated is not None:
            raise UserError(f"{file}, header (line {line}): two columns are named '{repeated}'; rename one of them.")

    def records(self) -> Iterator[Record]:
        """Yield the rows by column. Raises UserError if there are none, or one has the wrong number of fields."""
        number = 0
        for number, (line, fields) in enumerate(self._rows, 1):
            location = f"row {number} (line {line})"
            try:
                named = name_fields(self.columns, fields)
            except UserError as error:
                raise UserError(f"{self._file}, {location}: {error}") from error
            yield Record(location=location, fields=named)
        if not number:
            raise UserError(f"{self._file} has a header but no rows: it needs at least one.")

    def _read(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number of each row's first line, and its fields."""
        reader = csv.reader(self._text.lines(newline=""), strict=True)
        rows, first_line = 0, 1
        while True:
            # By default the csv module rejects fields over 131,072 characters; the limit is global to the process.
            limit = csv.field_size_limit(self._size + 1)
            try:
                fields = next(reader, None)
            except csv.Error as error:
                location = f"row {rows} (line {first_line})" if rows else f"header (line {first_line})"
                lines = islice(self._text.lines(newline=""), first_line - 1, reader.line_num)
                raise UserError(
                    f"{self._file}, {location}: the quote opened on line {_find_open_quote(lines, first_line)} is not "
                    "closed properly; end the field with a quote, and double each quote inside it."
                ) from error
            finally:
                csv.field_size_limit(limit)
            if fields is None:
                return
            if fields:
                yield first_line, fields
                rows += 1
            else:
                self.blank_lines += 1
            first_line = reader.line_num + 1


class JsonLinesReader:
    """The records of a file with one JSON object per line, and the number of its blank lines."""

    def __init__(self, text: TextFile, file: str) -> None:
        """Parse all of ``file`` once, for its keys. Raises UserError for a line that is not an object."""
        self.blank_lines = 0
        self._text, self._file = text, file
        keys: dict[str, None] = {}
        for record in self.records():
            keys.update(dict.fromkeys(record.fields))
        self.columns = list(keys)
        """Keys of all objects, in order of first occurrence."""

    def records(self) -> Iterator[Record]:
        """Yield the objects; blank lines are skipped."""
        self.blank_lines = 0
        for number, line in enumerate(self._text.lines(newline=None), 1):
            if not line.strip():
                self.blank_lines += 1
                continue
            try:
                value = parse_json_line(line)
            except UserError as error:
                raise UserError(f"{self._file}, line {number}: {error}") from error
            yield Record(location=f"line {number}", fields=value)


def name_fields(header: Sequence[str], fields: Sequence[str]) -> dict[str, Any]:
    """Return the fields of a row of CSV by column. Raises UserError if there are fewer or more than columns."""
    if len(fields) != len(header):
        raise UserError(
            f"{len(fields)} field{'' if len(fields) == 1 else 's'}, but the header has {len(header)}; quote fields "
            "that contain a comma, a quote or a line break."
        )
    return dict(zip(header, fields, strict=True))


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


def _find_open_quote(lines: Iterable[str], first: int) -> int:
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
