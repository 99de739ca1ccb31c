"""Reading the body of a request, of which nothing is made until its nesting and number of values are known.

    read_invocations(b'{"inputs": ["#Person1#: …"]}', "application/json", limits)

The formats are those of MLflow's scoring server, except Parquet: a small file of it can hold gigabytes. MLflow's own
parser is not used, since it makes arrays of the body, as wide as its longest text, before a model sees it.

Errors never repeat what the client sent.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

from yoyak.errors import UserError
from yoyak.serving.requests import COLUMN, EXAMPLE

if TYPE_CHECKING:
    from yoyak.params.deploy import Serving

JSON, CSV = "application/json", "text/csv"
MAX_DEPTH = 16
"""Brackets inside brackets; no format needs more than four."""
VALUES_PER_ROW = 32
"""Values for each dialogue that a request may have: a table may have other columns, which are ignored."""
FORMATS = ("inputs", "instances", "dataframe_split", "dataframe_records")
PARAMS = "params"

_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
"""A string of JSON, closed or not. Possessive, so that it takes linear time on any input."""
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class BodyTypeError(UserError):
    """The body is declared as something that is not understood."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """What a body asks for, unchecked."""

    dialogues: list[object]
    params: Mapping[str, Any]


def read_invocations(body: bytes, content_type: str | None, limits: Serving) -> Invocation:
    """Return the dialogues and params of a body of MLflow's scoring protocol. Raises UserError."""
    kind = check_type(content_type, (JSON, CSV))
    if kind == CSV:
        return Invocation(dialogues=_read_csv(_decode(body), limits.max_rows), params={})
    return _find_dialogues(read_json(body, limits))


def check_type(content_type: str | None, allowed: tuple[str, ...]) -> str:
    """Return the media type of a body. Raises BodyTypeError where it is not one of those, or not in UTF-8."""
    kind, _, rest = (content_type or "").partition(";")
    kind = kind.strip().lower()
    if kind not in allowed:
        raise BodyTypeError(f"Send the body as {' or '.join(allowed)}, and declare it in the header Content-Type.")
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", rest, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise BodyTypeError("Send the body in UTF-8: other encodings are not understood.")
    return kind


def check_coding(coding: str | None) -> None:
    """Raise BodyTypeError for a body that is compressed: a small one can hold gigabytes."""
    if coding is not None and coding.strip().lower() not in ("", "identity"):
        raise BodyTypeError("Send the body as it is: no Content-Encoding is understood.")


def read_json(body: bytes, limits: Serving, example: str = EXAMPLE) -> dict[str, Any]:
    """Return the object that a body in JSON holds. Raises UserError, whose sentence shows ``example``."""
    text = _decode(body)
    _check_structure(body, limits.max_rows)
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise UserError("The body is nested too deeply.") from error
    except ValueError as error:  # Also numbers that are too long for Python.
        raise UserError(f"The body is not valid JSON: send it as in {example}.") from error
    if not isinstance(value, dict):
        raise UserError(f"The body must be a JSON object, as in {example}.")
    return value


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError("The body is not valid UTF-8.") from error


def _check_structure(body: bytes, max_rows: int) -> None:
    """Raise UserError for too many or too deeply nested values. Only brackets and commas outside strings count."""
    if body.count(b"[") + body.count(b"{") + body.count(b",") <= MAX_DEPTH:
        return
    structure = _STRING.sub(b"", body)
    opened = structure.count(b"[") + structure.count(b"{")
    if opened + structure.count(b",") > VALUES_PER_ROW * max_rows + 256:
        raise UserError(f"The body has more values than {max_rows} dialogues need: send them in parts.")
    brackets = structure.translate(None, _NOT_BRACKETS)
    if opened > MAX_DEPTH and max(accumulate(1 if one in b"[{" else -1 for one in brackets)) > MAX_DEPTH:
        raise UserError(f"The body is nested too deeply: at most {MAX_DEPTH} levels are allowed.")


def _refuse_constant(name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


def _find_dialogues(value: dict[str, Any]) -> Invocation:
    names = [name for name in FORMATS if name in value]
    if len(names) != 1:
        raise UserError(f"The body must have exactly one of {', '.join(FORMATS)}, as in {EXAMPLE}.")
    params = value.get(PARAMS)
    if params is not None and not isinstance(params, dict):
        raise UserError('"params" must be a JSON object, as in {"num_beams": 4}.')
    data = value[names[0]]
    column = _split_column(data) if names[0] == "dataframe_split" else _column(data)
    if column is None:
        raise UserError(f'The body has no dialogues under "{names[0]}" in the column "{COLUMN}", as in {EXAMPLE}.')
    return Invocation(dialogues=column, params=params or {})


def _column(data: object) -> list[object] | None:
    """Return the dialogues of a list of texts or of records, or of one object that has the list; None without any."""
    if isinstance(data, dict):
        column = data.get(COLUMN)
        return column if isinstance(column, list) else [column] if isinstance(column, str) else None
    if not isinstance(data, list) or any(isinstance(row, dict) and COLUMN not in row for row in data):
        return None
    return [row[COLUMN] if isinstance(row, dict) else row for row in data]


def _split_column(data: object) -> list[object] | None:
    """Return the dialogues of a table that is split into the names of its columns and its rows."""
    if not isinstance(data, dict):
        return None
    columns, rows = data.get("columns"), data.get("data")
    if not isinstance(columns, list) or not isinstance(rows, list) or COLUMN not in columns:
        return None
    index = columns.index(COLUMN)
    if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
        return None
    return [row[index] for row in rows]


def _read_csv(text: str, max_rows: int) -> list[object]:
    """Return the column of dialogues, with one row more than allowed at most."""
    # By default the csv module rejects fields over 131,072 characters. The limit is global to the process, and another
    # request may be read meanwhile, so it is only ever raised; the size of a body has a limit of its own.
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = next(rows, [])
        if len(header) > VALUES_PER_ROW:
            raise UserError(f"The table may have at most {VALUES_PER_ROW} columns: leave out what is not read.")
        if COLUMN not in header:
            raise UserError(f'The table needs a first line with the names of its columns, one of them "{COLUMN}".')
        index, dialogues = header.index(COLUMN), list[object]()
        for row in islice(filter(None, rows), max_rows + 1):
            # One that is longer has a comma outside quotes: its dialogue would be cut there.
            if len(row) != len(header):
                raise UserError("Each row of the table needs as many values as its first line: put texts in quotes.")
            dialogues.append(row[index])
    except csv.Error as error:
        raise UserError("The body is not valid CSV.") from error
    return dialogues
