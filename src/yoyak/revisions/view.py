"""What a report on two revisions says: sections with sentences and tables, for Markdown and for a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from yoyak.reporting.formats import (
    format_count,
    format_p_cell,
    format_percentage,
    format_score,
    format_signed,
    format_signed_interval,
)
from yoyak.revisions.dialogues import COMBINED
from yoyak.revisions.results import Changes, ParamChange, RateChange, ScoreChange, SpeedChange
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.metrics import METRIC_LABELS, METRICS

MAX_ROWS = 40
MAX_VALUE = 160
"""Characters of a param's value."""
VERDICTS = {"better": "▲ better", "worse": "▼ worse", "no significant difference": "no difference", "not tested": "–"}
ORDER = ("worse", "better", "no significant difference", "not tested")
NONE = "–"

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells are plain text; what renders them escapes them."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int = 0
    """Number of rows that were left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the report."""

    title: str
    lines: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()


def summarize(changes: Changes) -> str:
    """Return the report's first sentence: whether scores got better or worse."""
    judged = [change for change in changes.scores if change.test and change.metric == METRICS[COMBINED]]
    if not judged:
        return "Whether the scores got better or worse could not be tested."
    parts = []
    for verdict, word in (("worse", "loss"), ("better", "gain")):
        found = [change for change in judged if change.verdict == verdict]
        if found:
            names = ", ".join(
                f"{change.system} on {change.split} ({format_signed(change.test.difference if change.test else 0)})"
                for change in sorted(found, key=lambda each: -abs(each.test.difference if each.test else 0))[:4]
            )
            more = f" and {len(found) - 4} more" if len(found) > 4 else ""
            parts.append(f"significant {word}: {names}{more}")
    if not parts:
        return f"No significant change of the combined score in {len(judged)} comparisons."
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."


def make_sections(changes: Changes) -> list[Section]:
    """Return all sections, the most important one first; what could not be had is a line of its section."""
    sections = [
        _scores(changes),
        Section(title="Params", tables=_table(("param", "before", "now"), changes.params, _param_row)),
        _data(changes),
        Section(
            title="Code",
            tables=_table(
                ("where", "files", "lines added", "lines removed"),
                changes.code,
                lambda each: (each.room, f"{each.files:,}", f"+{each.added:,}", f"−{each.removed:,}"),
            ),
        ),
        _stages(changes),
        Section(
            title="Metrics",
            tables=_table(
                ("file", "metric", "before", "now", "difference"),
                changes.metrics,
                lambda each: (
                    each.file,
                    each.key,
                    _figure(each.old),
                    _figure(each.new),
                    _difference(each.old, each.new),
                ),
            ),
        ),
        Section(
            title="Speed and size",
            tables=_table(("figure", "before", "now", "difference"), changes.speed, _speed_row),
        ),
        _behaviour(changes),
    ]
    notes: dict[str, list[str]] = {}
    for note in changes.notes:
        notes.setdefault(note.section, []).append(note.text)
    complete = []
    for section in sections:
        own = notes.pop(section.title, [])
        lines = (*section.lines, *own)
        if not lines and not section.tables:
            lines = ("Nothing changed.",)
        complete.append(Section(title=section.title, lines=lines, tables=section.tables))
    left = tuple(text for title, texts in notes.items() if title != "Summaries" for text in texts)
    return [*complete, Section(title="Not compared", lines=left)] if left else complete


def _scores(changes: Changes) -> Section:
    combined = [change for change in changes.scores if change.metric == METRICS[COMBINED]]
    tested = {change.system for change in combined if change.verdict in ("better", "worse")}
    others = [change for change in changes.scores if change.metric != METRICS[COMBINED] and change.system in tested]
    lines = []
    if any(change.test for change in combined):
        lines.append(
            f"Combined ROUGE; intervals at {changes.confidence:.0%} by bootstrap over dialogues, differences paired by "
            "dialogue, p corrected by Holm for all rows of this table. Variance between training seeds is not included."
        )
    tables = _table(
        ("system", "split", "before", "now", "difference", "p", "verdict", "n"),
        sorted(combined, key=lambda each: (ORDER.index(each.verdict), each.split)),
        lambda each: (
            each.system,
            each.split,
            _with_interval(each.old, each.old_interval),
            _with_interval(each.new, each.new_interval),
            _test_cell(each),
            NONE if each.adjusted_p is None else format_p_cell(each.adjusted_p),
            VERDICTS[each.verdict],
            f"{each.test.n:,}" if each.test else NONE,
        ),
    )
    tables += _table(
        ("system", "split", "metric", "before", "now", "difference"),
        others,
        lambda each: (
            each.system,
            each.split,
            METRIC_LABELS[each.metric],
            _with_interval(each.old, each.old_interval),
            _with_interval(each.new, each.new_interval),
            _test_cell(each),
        ),
    )
    return Section(title="Scores", lines=tuple(lines), tables=tables)


def _data(changes: Changes) -> Section:
    tables = _table(
        ("path", "before", "now", "size before", "size now"),
        changes.data,
        lambda each: (
            each.path,
            each.old_md5[:8] or NONE,
            each.new_md5[:8] or NONE,
            _size(each.old_size),
            _size(each.new_size),
        ),
    )
    tables += _table(
        ("file", "split", "rows before", "rows now", "added", "removed", "changed"),
        changes.rows,
        lambda each: (
            each.file,
            each.split or NONE,
            *(f"{count:,}" for count in (each.old_rows, each.new_rows, each.added, each.removed, each.changed)),
        ),
    )
    return Section(title="Data", tables=tables)


def _stages(changes: Changes) -> Section:
    lines = []
    if changes.stale:
        lines.append(
            f"dvc.lock is stale for {len(changes.stale)} stages: the figures here are not those of this code, data and "
            "params until `dvc repro` has run and its results are committed; so may be the stages that depend on them."
        )
    elif not any(note.section == "Stages" for note in changes.notes):
        lines.append("dvc.lock is up to date.")
    if changes.outputs:
        shown = ", ".join(changes.outputs[:MAX_ROWS])
        more = len(changes.outputs) - MAX_ROWS
        lines.append(f"Outputs that changed: {shown}{f' and {more} more' if more > 0 else ''}.")
    tables = _table(
        ("stale stage", "because of"),
        changes.stale,
        lambda each: (each.name, ", ".join(each.reasons) or NONE),
    )
    return Section(title="Stages", lines=tuple(lines), tables=tables)


def _behaviour(changes: Changes) -> Section:
    rows = [each for each in changes.behaviour if (each.old, each.old_n) != (each.new, each.new_n)]
    lines = () if not rows else ("Rates of failures; p of Fisher's exact test, not corrected.",)
    tables = _table(("member", "failure", "before", "now", "p"), rows, _rate_row)
    return Section(title="Behaviour", lines=lines, tables=tables)


def _rate_row(each: RateChange) -> tuple[str, ...]:
    return (
        each.member,
        each.check,
        f"{format_percentage(each.old)} of {each.old_n:,}",
        f"{format_percentage(each.new)} of {each.new_n:,}",
        format_p_cell(each.p_value),
    )


def _param_row(each: ParamChange) -> tuple[str, ...]:
    key = each.key if each.file == "params.yaml" else f"{each.file}: {each.key}"
    return (
        key,
        "not set" if each.missing == "old" else shorten(json.dumps(each.old, ensure_ascii=False, default=str)),
        "not set" if each.missing == "new" else shorten(json.dumps(each.new, ensure_ascii=False, default=str)),
    )


def _speed_row(each: SpeedChange) -> tuple[str, ...]:
    unit = f" {each.unit}" if each.unit else ""
    return (
        each.name,
        *(NONE if value is None else f"{_figure(value)}{unit}" for value in (each.old, each.new)),
        _difference(each.old, each.new) if each.comparable else "not comparable",
    )


def _table(
    columns: tuple[str, ...], values: Iterable[Value], row: Callable[[Value], Sequence[str]]
) -> tuple[Table, ...]:
    """Return a table with a row for each value; none where there are no values."""
    rows = list(values)
    if not rows:
        return ()
    shown = tuple(tuple(row(value)) for value in rows[:MAX_ROWS])
    return (Table(columns=columns, rows=shown, more=max(0, len(rows) - MAX_ROWS)),)


def shorten(text: str, limit: int = MAX_VALUE) -> str:
    """Return a text of at most ``limit`` characters."""
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _with_interval(value: float | None, interval: Interval | None) -> str:
    return f"{format_score(value)} ({interval.low:.3f}–{interval.high:.3f})" if interval else format_score(value)


def _test_cell(each: ScoreChange) -> str:
    if each.test:
        return f"{format_signed(each.test.difference)} ({format_signed_interval(each.test)})"
    return _difference(each.old, each.new)


def _figure(value: float | None) -> str:
    return NONE if value is None else f"{value:.4g}"


def _difference(old: float | None, new: float | None) -> str:
    if old is None or new is None:
        return NONE
    return f"{new - old:+.3g}".replace("-", "−") if new != old else "0"


def _size(value: int | None) -> str:
    return NONE if value is None else f"{format_count(value)}{'B' if value >= 1e6 else ' B'}"
