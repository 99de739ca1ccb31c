"""The report as plain text for a terminal."""

from __future__ import annotations

import unicodedata

from yoyak.reporting.layout import text_width
from yoyak.revisions.results import Changes
from yoyak.revisions.view import Section, Table, make_sections, shorten, summarize

MAX_CELL = 60
MAX_TEXT = 400


def render_text(changes: Changes) -> str:
    """Return the report; control characters of what it shows do not reach the terminal."""
    parts = [f"{changes.base.label} → {changes.head.label}\n{summarize(changes)}"]
    parts += [render_section(section) for section in make_sections(changes)]
    notes = [note.text for note in changes.notes if note.section == "Summaries"]
    examples = [
        f"{example.fname}: {example.old_score:.3f} → {example.new_score:.3f}\n"
        f"  before:    {shorten(_line(example.old), MAX_TEXT)}\n"
        f"  now:       {shorten(_line(example.new), MAX_TEXT)}\n"
        + "\n".join(f"  reference: {shorten(_line(text), MAX_TEXT)}" for text in example.references)
        for example in changes.examples
    ]
    if examples or notes:
        parts.append("\n".join(["Summaries that changed most", *notes, *examples]))
    return "\n\n".join(_printable(part) for part in parts)


def render_section(section: Section) -> str:
    """Return a section with its tables aligned."""
    return "\n".join([section.title, *(f"  {line}" for line in section.lines), *map(_render_table, section.tables)])


def _render_table(table: Table) -> str:
    rows = [[shorten(_line(cell), MAX_CELL) for cell in row] for row in (table.columns, *table.rows)]
    widths = [max(map(text_width, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  " + "  ".join(cell + " " * (width - text_width(cell)) for cell, width in zip(row, widths, strict=True))
        for row in rows
    ]
    more = [f"  {table.more:,} more"] if table.more else []
    return "\n".join([*(line.rstrip() for line in lines), *more])


def _line(text: str) -> str:
    return " ".join(text.split())


def _printable(text: str) -> str:
    return "".join("�" if unicodedata.category(char) == "Cc" and char != "\n" else char for char in text)
