"""The report as Markdown for a pull request's comment or a job's summary, within a limit of characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePath
from urllib.parse import quote

from yoyak.reporting.differences import Segment, compare
from yoyak.revisions.markup import to_html, to_markdown
from yoyak.revisions.plots import Plot
from yoyak.revisions.results import Changes, ExampleChange
from yoyak.revisions.view import Section, Table, make_sections, shorten, summarize

TITLE = "What this changes in the model"
MAX_TEXT = 1200
"""Characters of a dialogue or a summary."""
CUT = "\n_The report was cut to {limit:,} characters; left out: {titles}._\n"


def render_markdown(changes: Changes, *, plots: Sequence[Plot] = (), folder: PurePath | None = None, limit: int) -> str:
    """Return the report with at most ``limit`` characters: sections that do not fit are left out and named.

    Args:
        folder: Where the plots are, relative to the report.
    """
    head = (
        f"## {TITLE}\n\n**{to_markdown(summarize(changes))}**\n\n"
        f"{to_markdown(changes.base.label)} → {to_markdown(changes.head.label)}\n"
    )
    parts = [(section.title, _render_section(section)) for section in make_sections(changes)]
    parts += [("Summaries", part) for part in _render_examples(changes)]
    if plots and folder is not None:
        images = [f"![{to_markdown(plot.description)}]({quote((folder / plot.file).as_posix())})\n" for plot in plots]
        parts.append(("Plots", "\n### Plots\n\n" + "\n".join(images)))
    text = head
    left_out: list[str] = []
    room = limit - len(CUT) - sum(len(title) + 2 for title in dict(parts))
    for title, part in parts:
        if len(text) + len(part) <= (room if left_out or part is not parts[-1][1] else limit):
            text += part
        else:
            left_out.append(title)
    if left_out:
        text += CUT.format(limit=limit, titles=", ".join(dict.fromkeys(left_out)).lower())
    return text[:limit]


def _render_section(section: Section) -> str:
    lines = [f"\n### {section.title}\n", *(f"{to_markdown(line)}\n" for line in section.lines)]
    return "\n".join([*lines, *map(_render_table, section.tables)])


def _render_table(table: Table) -> str:
    rows = [_render_row(table.columns), _render_row(["---"] * len(table.columns), escape=False)]
    rows += map(_render_row, table.rows)
    more = [f"\n{table.more:,} more rows are left out."] if table.more else []
    return "\n".join([*rows, *more, ""])


def _render_row(cells: Iterable[str], *, escape: bool = True) -> str:
    return f"| {' | '.join(to_markdown(cell) if escape else cell for cell in cells)} |"


def _render_examples(changes: Changes) -> list[str]:
    """Return a part for each dialogue. HTML, because a cell of a Markdown table cannot mark what differs."""
    notes = [note.text for note in changes.notes if note.section == "Summaries"]
    if not changes.examples:
        lines = notes or ["No summary changed, or none was asked for."]
        return ["\n### Summaries\n\n" + "\n".join(f"{to_markdown(line)}\n" for line in lines)]
    first = changes.examples[0]
    title = (
        "\n### Summaries\n\nThe dialogues of "
        f"{to_markdown(first.split)} on which {to_markdown(first.system)} changed most.\n"
    )
    parts = [_render_example(example) for example in changes.examples]
    return [title + parts[0], *parts[1:]]


def _render_example(example: ExampleChange) -> str:
    segments = compare(shorten(example.old, MAX_TEXT), shorten(example.new, MAX_TEXT))
    references = "<br>".join(to_html(shorten(text, MAX_TEXT)) for text in example.references)
    gain = example.new_score - example.old_score
    sign = f"{gain:+.3f}".replace("-", "−")
    return f"""
<details><summary>{to_html(example.fname)}: {example.old_score:.3f} → {example.new_score:.3f} ({sign})</summary>
<table>
<tr><th>before</th><th>now</th></tr>
<tr><td>{to_html(shorten(example.old, MAX_TEXT))}</td><td>{_mark(segments)}</td></tr>
<tr><th colspan="2">reference</th></tr>
<tr><td colspan="2">{references}</td></tr>
<tr><th colspan="2">dialogue</th></tr>
<tr><td colspan="2">{to_html(shorten(example.dialogue, MAX_TEXT))}</td></tr>
</table>
</details>
"""


def _mark(segments: Sequence[Segment]) -> str:
    tags = {"added": "ins", "missing": "del"}
    parts = []
    for segment in segments:
        before, after = (" " if segment.text[index : index + 1 or None].isspace() else "" for index in (0, -1))
        text = to_html(" ".join(segment.text.split()))
        if segment.kind == "same":
            parts.append(f"{before}{text}{after}" if text else before)
        elif text:
            space = " " if segment.kind == "missing" and segment.whole else ""
            parts.append(f"{space}<{tags[segment.kind]}>{text}</{tags[segment.kind]}>{space}")
    return " ".join("".join(parts).split())
