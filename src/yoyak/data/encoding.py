"""Decoding a data file in its configured encoding, with errors that suggest the right one.

Files are read in pieces, so that their size does not matter.
"""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from encodings.aliases import aliases
from itertools import chain
from typing import BinaryIO

from yoyak.errors import UserError, nearest

PIECE = 1 << 20
"""Bytes that are decoded at once."""
_UTF8 = ("utf-8", "utf-8-sig")
_UTF16_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_BEGINNING = 4096
"""Characters in which a file that is decoded correctly has the name of a column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFile:
    """A file that can be decoded."""

    raw: BinaryIO
    encoding: str
    """As it is configured."""
    codec: str
    has_bom: bool
    is_blank: bool
    """Whether it has nothing but whitespace."""
    line_ends: dict[str, int]
    """Number of ``lf``, ``crlf`` and ``cr``."""

    def lines(self, newline: str | None) -> Iterator[str]:
        """Yield its lines from the beginning, without a byte order mark; ``newline`` is that of `open`."""
        self.raw.seek(0)
        text = io.TextIOWrapper(self.raw, self.codec, newline=newline)
        try:
            first = next(text, "").removeprefix("\ufeff")
            if first:
                yield first
            yield from text
        finally:
            # A reader that was not read to its end may go after its file was closed.
            if not self.raw.closed:
                text.detach()


def open_text(raw: BinaryIO, encoding: str, *, file: str, column: str, is_csv: bool) -> TextFile:
    """Return a file as text, after all of it was decoded once.

    ``column`` is a name that the beginning of the file should contain; it serves to verify a guessed encoding. Raises
    UserError with the location of the error and, if it can be guessed, the right encoding. A file that decodes only
    by accident (UTF-8 read as CP949, UTF-16 read as UTF-8) is rejected as well: its text would be garbled.
    """
    raw.seek(0)
    mark = raw.read(4)
    has_bom = mark.startswith((codecs.BOM_UTF8, *_UTF16_BOMS))
    beginning, is_blank, is_ascii = "", True, True
    ends = {"lf": 0, "crlf": 0, "cr": 0}
    last = ""
    try:
        codec = codecs.lookup(encoding).name
        if codec in ("utf-16", "utf-32") and not mark.startswith((*_UTF16_BOMS, codecs.BOM_UTF32_BE)):
            # Without a mark it is this machine's order of bytes, which Python does not take for granted of a stream.
            codec += "-le" if sys.byteorder == "little" else "-be"
        for text in _decode(raw, codec):
            beginning += text[: _BEGINNING + 1 - len(beginning)]
            is_blank = is_blank and not text.removeprefix("\ufeff").strip()
            is_ascii = is_ascii and text.isascii()
            crlf = text.count("\r\n") + (last == "\r" and text[:1] == "\n")
            for kind, count in (("crlf", crlf), ("lf", text.count("\n") - crlf), ("cr", text.count("\r") - crlf)):
                ends[kind] += count
            last = text[-1:] or last
    except UnicodeDecodeError as error:
        offset = raw.tell() - len(error.object) + error.start
        location = _locate(raw, codec, offset, is_csv)
        suggestion = _guess_encoding(raw, column, encoding)
        raise UserError(f"{file}, {location}: the file is not {encoding}{_format_advice(suggestion)}.") from error
    except (LookupError, ValueError) as error:  # There are codecs that decode no text, such as idna.
        names = {name.replace("_", "-") for name in aliases.values()}
        raise UserError(f"data.encoding: no encoding is named '{encoding}'{nearest(encoding, names)}.") from error
    if codec in _UTF8:
        by_accident = "\0" in beginning[:_BEGINNING] and column not in beginning[:_BEGINNING]
    else:
        by_accident = not is_ascii and not has_bom and _decodes(raw, "utf-8")
    suggestion = _guess_encoding(raw, column, encoding) if by_accident else None
    if suggestion:
        raise UserError(f"{file} is not {encoding}{_format_advice(suggestion)}.")
    return TextFile(raw=raw, encoding=encoding, codec=codec, has_bom=has_bom, is_blank=is_blank, line_ends=ends)


def _decode(raw: BinaryIO, encoding: str, *, errors: str = "strict", end: int | None = None) -> Iterator[str]:
    """Yield the text of a file, or of its first ``end`` bytes, piece by piece."""
    raw.seek(0)
    # Refuses codecs that decode no text.
    io.TextIOWrapper(io.BytesIO(), encoding)
    decoder = codecs.getincrementaldecoder(encoding)(errors)
    left = end
    while piece := raw.read(PIECE if left is None else min(PIECE, left)):
        left = None if left is None else left - len(piece)
        yield decoder.decode(piece)
    yield decoder.decode(b"", final=True)


def _format_advice(suggestion: str | None) -> str:
    if suggestion:
        return f", but it can be decoded as {suggestion}: set data.encoding to {suggestion}"
    return ", nor UTF-8, CP949 or UTF-16: save it as UTF-8, or set data.encoding to its encoding"


def _decodes(raw: BinaryIO, encoding: str) -> bool:
    try:
        for _ in _decode(raw, encoding):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _guess_encoding(raw: BinaryIO, column: str, excluded: str) -> str | None:
    """Return an encoding other than ``excluded`` in which the bytes decode, or None."""
    raw.seek(0)
    has_bom = raw.read(2).startswith(_UTF16_BOMS)
    tried = codecs.lookup(excluded).name
    for candidate in ("utf-8", "utf-16" if has_bom else "utf-16-le", "utf-16-be", "cp949"):
        if codecs.lookup(candidate).name == tried or not _decodes(raw, candidate):
            continue
        # UTF-16 without a BOM decodes nearly anything of even length, and UTF-8 decodes any UTF-16 with only ASCII.
        if candidate in ("utf-16", "cp949") or column in next(_decode(raw, candidate))[:_BEGINNING]:
            return candidate
    return None


def _locate(raw: BinaryIO, encoding: str, offset: int, is_csv: bool) -> str:
    """Return the row and line of a byte."""
    try:
        return _locate_end(chain(_decode(raw, encoding, errors="replace", end=offset), ["x"]), is_csv)
    except ValueError:  # From a codec that only decodes all or nothing.
        return _locate_end(iter(["x"]), is_csv)


def _locate_end(pieces: Iterator[str], is_csv: bool) -> str:
    """Return the row and line at which a text ends."""
    lines = 0

    def counted() -> Iterator[str]:
        nonlocal lines
        for line in _split_lines(pieces):
            lines += 1
            yield line

    if not is_csv:
        return f"line {sum(1 for _ in counted())}"
    limit = csv.field_size_limit(2**31 - 1)
    try:
        row = sum(1 for fields in csv.reader(counted()) if fields) - 1
    finally:
        csv.field_size_limit(limit)
    return f"row {row} (line {lines})" if row else f"header (line {lines})"


def _split_lines(pieces: Iterator[str]) -> Iterator[str]:
    """Yield the lines of a text with their ends, as a file that is opened with ``newline=""`` does."""
    rest = ""
    for piece in pieces:
        lines = list(io.StringIO(rest + piece, newline=""))
        # What ends with "\r" may go on with "\n".
        rest = lines.pop() if lines and not lines[-1].endswith("\n") else ""
        yield from lines
    if rest:
        yield rest
