"""Decoding a data file in its configured encoding, with errors that suggest the right one."""

from __future__ import annotations

import codecs
import csv
import io
from encodings.aliases import aliases

from yoyak.errors import UserError, nearest

_UTF8 = ("utf-8", "utf-8-sig")
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode(raw: bytes, encoding: str, *, file: str, column: str, is_csv: bool) -> str:
    """Return the text of a file, without a byte order mark.

    ``column`` is a name that the beginning of the file should contain; it serves to verify a guessed encoding. Raises
    UserError with the location of the error and, if it can be guessed, the right encoding. A file that decodes only
    by accident (UTF-8 read as CP949, UTF-16 read as UTF-8) is rejected as well: its text would be garbled.
    """
    try:
        codec = codecs.lookup(encoding).name
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        location = _locate_end(_decode_start(raw[: error.start], encoding), is_csv)
        suggestion = _guess_encoding(raw, column, encoding)
        raise UserError(f"{file}, {location}: the file is not {encoding}{_format_advice(suggestion)}.") from error
    except (LookupError, ValueError) as error:  # There are codecs that decode no text, such as idna.
        names = {name.replace("_", "-") for name in aliases.values()}
        raise UserError(f"data.encoding: no encoding is named '{encoding}'{nearest(encoding, names)}.") from error
    if codec in _UTF8:
        by_accident = "\0" in text[:4096] and column not in text[:4096]
    else:
        by_accident = not raw.isascii() and _decodes(raw, "utf-8") and not raw.startswith(_UTF16_BOMS)
    suggestion = _guess_encoding(raw, column, encoding) if by_accident else None
    if suggestion:
        raise UserError(f"{file} is not {encoding}{_format_advice(suggestion)}.")
    return text.removeprefix("\ufeff")


def _decode_start(raw: bytes, encoding: str) -> str:
    """Return the text before what cannot be decoded; nothing from a codec that only decodes all or nothing."""
    try:
        return raw.decode(encoding, errors="replace")
    except ValueError:
        return ""


def _format_advice(suggestion: str | None) -> str:
    if suggestion:
        return f", but it can be decoded as {suggestion}: set data.encoding to {suggestion}"
    return ", nor UTF-8, CP949 or UTF-16: save it as UTF-8, or set data.encoding to its encoding"


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _guess_encoding(raw: bytes, column: str, excluded: str) -> str | None:
    """Return an encoding other than ``excluded`` in which the bytes decode, or None."""
    has_bom = raw.startswith(_UTF16_BOMS)
    tried = codecs.lookup(excluded).name
    for candidate in ("utf-8", "utf-16" if has_bom else "utf-16-le", "utf-16-be", "cp949"):
        if codecs.lookup(candidate).name == tried or not _decodes(raw, candidate):
            continue
        # UTF-16 without a BOM decodes nearly anything of even length, and UTF-8 decodes any UTF-16 with only ASCII.
        if candidate in ("utf-16", "cp949") or column in raw.decode(candidate)[:4096]:
            return candidate
    return None


def _locate_end(before: str, is_csv: bool) -> str:
    """Return the row and line at which the text ``before`` ends."""
    lines = sum(1 for _ in io.StringIO(before + "x", newline=""))
    if not is_csv:
        return f"line {lines}"
    limit = csv.field_size_limit(len(before) + 1)
    try:
        row = sum(1 for fields in csv.reader(io.StringIO(before + "x", newline="")) if fields) - 1
    finally:
        csv.field_size_limit(limit)
    return f"row {row} (line {lines})" if row else f"header (line {lines})"
