"""Tables of plain facts: the prepared splits, what `prepare` reported, what was registered, and the params."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from yoyak import project
from yoyak.data.records import read_jsonl
from yoyak.reporting.view import Registry, Table
from yoyak.tracking.registered import Registered
from yoyak.tracking.uri import redact_credentials

MAX_ROWS = 40
"""Rows shown of a table that `prepare` reported; the rest are counted."""
MAX_ITEMS = 6
"""Items shown of a list or mapping in a cell; the rest are counted."""


def make_split_table(root: Path) -> Table:
    """Return the size of each prepared split: dialogues, references, topics, turns, characters.

    Rows that augmentation added to train do not count.
    """
    rows = []
    order = {project.TRAIN: 0, project.DEV: 1, project.TEST: 2, project.GATE: 3}
    paths = [*root.glob(project.TRAIN_SPLIT.as_posix()), *(root / project.EVAL_SPLITS).glob("*.jsonl")]
    paths.sort(key=lambda path: (order.get(path.stem, len(order)), path.stem))
    for path in paths:
        turns, chars, summary_chars, references, topics = [], [], [], set(), set()
        for row in read_jsonl(path):
            if row.method:
                continue
            turns.append(row.dialogue.count("\n") + 1)
            chars.append(len(row.dialogue))
            summary_chars += [len(summary) for summary in row.summaries]
            references.add(len(row.summaries))
            topics.add(row.topic)
        lengths = map(_format_lengths, (turns, chars, summary_chars))
        cells = (_format_range(references), f"{len(topics - {''}):,}", *lengths)
        rows.append((path.stem, f"{len(turns):,}", *cells))
    columns = ("split", "dialogues", "references per dialogue", "topics", "turns", "characters", "summary characters")
    return Table(title="Prepared splits", columns=columns, rows=tuple(rows))


def _format_range(values: set[int]) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def _format_lengths(values: Sequence[int]) -> str:
    return f"{median(values):,.0f} ({min(values):,}–{max(values):,})" if values else "–"


def make_cleaning_tables(report: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return what `prepare` reports about the rows of the data files, and about dialogues that splits share."""
    tables = []
    files, repeated = _mapping(report.get("files")), _mapping(report.get("duplicates"))
    rows = [
        (
            split,
            *(_to_text(_mapping(files.get(split)).get(key)) for key in ("rows_in", "rows_kept", "dropped", "changed")),
            _to_text(_mapping(repeated.get(split)).get("rows_beyond_first")),
        )
        for split in dict.fromkeys([*files, *repeated])
    ]
    if rows:
        columns: tuple[str, ...] = ("split", "rows read", "rows kept", "dropped", "changed", "repeated dialogues")
        tables.append(Table(title="Rows read and kept", columns=columns, rows=tuple(rows)))
    shared = report.get("leakage")
    pairs = [entry for entry in shared if isinstance(entry, Mapping)] if isinstance(shared, list) else []
    if pairs:
        rows = [
            (
                " and ".join(map(str, entry.get("between") or ())),
                _to_text(entry.get("dialogues")),
                _to_text(entry.get("rows_removed")),
            )
            for entry in pairs
        ]
        columns = ("splits", "shared dialogues", "rows removed from")
        tables.append(Table(title="Leakage between splits", columns=columns, rows=tuple(rows)))
    return tuple(tables)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def make_tables(report: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return a free-form report as tables: first its single values, then each mapping or list."""
    single = {key: value for key, value in report.items() if not isinstance(value, dict | list)}
    tables = [_make_table("Values", single)] if single else []
    for key, entries in report.items():
        value = dict(enumerate(entries, start=1)) if isinstance(entries, list) else entries
        if not isinstance(value, dict) or not value:
            continue
        inner = {name: entry for name, entry in value.items() if _is_nested(entry)}
        if inner == value:
            tables.append(_make_table(_to_words(key), dict(_flatten(value))))
            continue
        tables += [_make_table(f"{_to_words(key)}: {_to_words(name)}", entry) for name, entry in inner.items()]
        rest = {name: entry for name, entry in value.items() if name not in inner}
        tables += [_make_table(_to_words(key), rest)] if rest else []
    return tuple(tables)


def _is_nested(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(entry, dict) for entry in value.values())


def _flatten(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the innermost mappings, which hold no mappings, each after its path of keys."""
    for name, entry in value.items():
        entry_path = f"{path}, {_to_words(name)}" if path else str(name)
        if _is_nested(entry):
            yield from _flatten(entry, entry_path)
        else:
            yield entry_path, entry


def _make_table(title: str, entries: Mapping[str, Any]) -> Table:
    columns: tuple[str, ...] = ("value",)
    if all(isinstance(entry, dict) for entry in entries.values()):
        columns = tuple(
            name
            for name in dict.fromkeys(name for entry in entries.values() for name in entry)
            if not all(_is_histogram(entry.get(name)) for entry in entries.values())
        )
        rows = [(str(name), *(_to_text(entry.get(key)) for key in columns)) for name, entry in entries.items()]
    else:
        rows = [(_to_words(name), _to_text(entry)) for name, entry in entries.items()]
    if len(rows) > MAX_ROWS:
        rows = [*rows[:MAX_ROWS], (f"{len(rows) - MAX_ROWS:,} more", *[""] * len(columns))]
    return Table(title=title, columns=("", *map(_to_words, columns)), rows=tuple(rows))


def _is_histogram(value: object) -> bool:
    """Return whether a value is a long list of numbers, which does not fit in a cell."""
    return isinstance(value, list) and len(value) > MAX_ITEMS and all(isinstance(entry, int | float) for entry in value)


def _to_words(key: object) -> str:
    return str(key).replace("_", " ")


def _to_text(value: Any) -> str:
    """Return a value as text; long lists and mappings are cut, and the rest is counted."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        parts = [f"{_to_words(key)} {_to_text(entry)}" for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        parts = [_to_text(entry) for entry in value]
    else:
        return str(value)
    if not parts:
        return "none"
    rest = len(parts) - MAX_ITEMS
    return ", ".join(parts[:MAX_ITEMS]) + (f" and {rest:,} more" if rest > 0 else "")


def make_registry_section(registered: Registered) -> Registry:
    """Return the registered versions as a table, the decision, and MLflow's address without its password."""
    rows = [
        (
            model.name,
            str(model.version),
            model.member,
            ", ".join(model.aliases) or "–",
            model.run_id,
            "yes" if model.restored else "no",
        )
        for model in registered.registered
    ]
    columns = ("model", "version", "member", "aliases", "run", "restored")
    return Registry(
        versions=Table(title="Registered versions", columns=columns, rows=tuple(rows)),
        decision=registered.decision,
        tracking_uri=redact_credentials(registered.tracking_uri),
    )


def to_yaml(tree: Mapping[str, Any]) -> str:
    """Return params as YAML, in the order of their classes, with None written as ``null``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """A separate class, because representers are registered with the class."""

    Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    text = io.StringIO()
    yaml.dump(dict(tree), text)
    return text.getvalue()
