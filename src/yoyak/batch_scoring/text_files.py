"""CSV and JSON lines, cut into parts where rows end: a quoted field of CSV may have line breaks.

They are cut as bytes, so the encoding has to leave quotes, commas and line breaks as they are in ASCII.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from yoyak.data.parsing import name_fields, parse_json_line
from yoyak.errors import UserError

BOM = b"\xef\xbb\xbf"
_BUFFER = 1 << 20
_BYTES = "latin-1"
"""Each byte is a character of it, so that rows are found without decoding them."""
_LONGEST_FIELD = 1 << 30
_UNDECODED = re.compile("[\udc80-\udcff]")
_KEYS_FROM = 100
"""Objects of JSON lines whose keys are taken for the columns."""


class Boundary(NamedTuple):
    """Where a part begins, or the last one ends."""

    row: int
    """Number of rows before it."""
    offset: int
    """Number of bytes before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """What one pass over a file finds."""

    columns: Sequence[str]
    boundaries: Sequence[Boundary]


class _Lines:
    """The lines of a stream, and how many bytes of them were taken."""

    def __init__(self, stream: Any) -> None:
        self.stream = io.BufferedReader(stream, _BUFFER)
        self.offset = 0
        self.number = 0

    def __iter__(self) -> Iterator[bytes]:
        for line in self.stream:
            start = len(BOM) if self.offset == 0 and line.startswith(BOM) else 0
            self.offset += len(line)
            self.number += 1
            yield line[start:]


class _Cuts:
    """Boundaries, one after each ``part_rows`` rows."""

    def __init__(self, part_rows: int, start: int) -> None:
        self.part_rows = part_rows
        self.boundaries = [Boundary(0, start)]
        self.row, self._end = 0, start

    def add(self, end: int) -> None:
        """Count a row that ends at a byte."""
        if self.row and self.row % self.part_rows == 0:
            self.boundaries.append(Boundary(self.row, self._end))
        self.row += 1
        self._end = end

    def close(self) -> list[Boundary]:
        """Return all boundaries, the last of which is the end of the last row."""
        return [*self.boundaries, Boundary(self.row, self._end)] if self.row else self.boundaries


def scan_csv(stream: Any, encoding: str, part_rows: int, name: str) -> TextFile:
    """Find the rows of CSV with a header. Raises UserError for an unclosed quote or a repeated column name."""
    lines = _Lines(stream)
    first, row = 1, 0
    with _any_length():
        reader = csv.reader((line.decode(_BYTES) for line in lines), strict=True)
        try:
            header = [field.encode(_BYTES).decode(encoding, "replace").strip() for field in next(reader, [])]
            cuts = _Cuts(part_rows, lines.offset)
            first = lines.number + 1
            for fields in reader:
                if fields:
                    row += 1
                    cuts.add(lines.offset)
                first = lines.number + 1
        except csv.Error as error:
            raise UserError(
                f"{name}, row {row + 1} (line {first}): this row cannot be told from the next ({error}); quote fields "
                "that contain a line break, close each quote, and double quotes inside."
            ) from error
    if not header and row:
        raise UserError(f"{name}: the first line is empty; it has to name the columns.")
    repeated = next((column for column in header if column and header.count(column) > 1), None)
    if repeated is not None:
        raise UserError(f"{name}: two columns are named '{repeated}'; rename one of them.")
    return TextFile(columns=header, boundaries=cuts.close())


def scan_json_lines(stream: Any, encoding: str, part_rows: int, name: str) -> TextFile:
    """Find the lines that are not blank, and the keys of the first objects. Raises UserError if none is an object."""
    lines = _Lines(stream)
    cuts = _Cuts(part_rows, 0)
    keys: dict[str, None] = {}
    for line in lines:
        if not line.strip():
            continue
        if cuts.row < _KEYS_FROM:
            # One that is none is rejected when its part is read.
            with suppress(UserError):
                keys.update(dict.fromkeys(parse_json_line(line.decode(encoding, "replace"))))
        cuts.add(lines.offset)
    if cuts.row and not keys:
        first = f"none of the first {_KEYS_FROM} lines" if cuts.row > _KEYS_FROM else "no line"
        raise UserError(f"{name}: {first} is a JSON object; write one per line.")
    return TextFile(columns=list(keys), boundaries=cuts.close())


def read_csv(raw: bytes, encoding: str, header: Sequence[str]) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the fields of each row of a part, or the reason why they cannot be told."""
    with _any_length():
        for fields in csv.reader(io.StringIO(_decode(raw, encoding), newline=""), strict=True):
            if not fields:
                continue
            yield _try(lambda fields: name_fields(header, fields), fields, encoding, "".join(fields))


def read_json_lines(raw: bytes, encoding: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield the object of each line of a part, or the reason why it is none."""
    for line in raw.removeprefix(BOM).split(b"\n"):
        if line.strip():
            text = _decode(line, encoding)
            yield _try(parse_json_line, text, encoding, text)


def _try(parse: Callable[[Any], dict[str, Any]], row: Any, encoding: str, text: str) -> tuple[Mapping[str, Any], str]:
    """Return the fields of a row, or none and the reason."""
    if _UNDECODED.search(text):
        return {}, f"it is not {encoding}."
    try:
        return parse(row), ""
    except UserError as error:
        return {}, str(error)


def _decode(raw: bytes, encoding: str) -> str:
    """Return text in which bytes that are wrong in the encoding are halves of characters: no text has those."""
    return raw.decode(encoding, "surrogateescape")


@contextmanager
def _any_length() -> Iterator[None]:
    """Read fields of CSV of any length; the limit is global to the process."""
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        yield
    finally:
        csv.field_size_limit(limit)
