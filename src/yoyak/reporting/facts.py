"""Tables of plain facts: the splits on disk, what `prepare` reported, what was registered, the params."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from yoyak import project
from yoyak.errors import UserError
from yoyak.reporting.view import Registry, Table
from yoyak.tracking.client import redact_credentials
from yoyak.tracking.registered import Registered

ROWS = 40
"""Rows shown of a table that `prepare` reported; the others are counted."""
ITEMS = 6


def split_table(root: Path) -> Table:
    """Return the size of each prepared split: rows, references, topics, turns, characters."""
    rows = []
    order = {"train": 0, "dev": 1, "test": 2}
    paths = [*(root / project.PREPARED).glob("*.jsonl"), *(root / project.EVAL_SPLITS).glob("*.jsonl")]
    paths.sort(key=lambda path: (order.get(path.stem, len(order)), path.stem))
    for path in paths:
        turns, chars, summary_chars, references, topics = [], [], [], set(), set()
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    value = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"{path.relative_to(root)}, line {number}: not valid JSON ({error}).") from error
                turns.append(value["dialogue"].count("\n") + 1)
                chars.append(len(value["dialogue"]))
                summary_chars += [len(summary) for summary in value["summaries"]]
                references.add(len(value["summaries"]))
                topics.add(value["topic"])
        lengths = (_median_and_range(turns), _median_and_range(chars), _median_and_range(summary_chars))
        cells = (_range(references), f"{len(topics - {''}):,}", *lengths)
        rows.append((path.stem, f"{len(turns):,}", *cells))
    columns = ("split", "dialogues", "references each", "topics", "turns", "characters", "summary characters")
    return Table(title="Prepared splits", columns=columns, rows=tuple(rows))


def _range(values: set[int]) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def _median_and_range(values: Sequence[int]) -> str:
    return f"{median(values):,.0f} ({min(values):,}–{max(values):,})" if values else "–"


def cleaning_tables(report: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return what happened to the rows of the data files, and what splits share, as far as `prepare` reports it."""
    tables = []
    files, repeated = _mapping(report.get("files")), _mapping(report.get("duplicates"))
    rows = [
        (
            split,
            *(_text(_mapping(files.get(split)).get(key)) for key in ("rows_in", "rows_kept", "dropped", "changed")),
            _text(_mapping(repeated.get(split)).get("rows_beyond_first")),
        )
        for split in dict.fromkeys([*files, *repeated])
    ]
    if rows:
        names = ("split", "rows in", "rows kept", "dropped", "changed", "repeated dialogues")
        tables.append(Table(title="Rows in and out", columns=names, rows=tuple(rows)))
    shared = report.get("leakage")
    pairs = [entry for entry in shared if isinstance(entry, Mapping)] if isinstance(shared, list) else []
    if pairs:
        between = [
            (
                " and ".join(map(str, entry.get("between") or ())),
                _text(entry.get("dialogues")),
                _text(entry.get("rows_removed_from_train")),
            )
            for entry in pairs
        ]
        pair = ("between", "shared dialogues", "removed from train")
        tables.append(Table(title="Leakage between splits", columns=pair, rows=tuple(between)))
    return tuple(tables)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def tables_of(report: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return a free-form report as tables: one of its single values, then those of each mapping or list."""
    single = {key: value for key, value in report.items() if not isinstance(value, dict | list)}
    tables = [_table("Values", single)] if single else []
    for key, given in report.items():
        value = dict(enumerate(given, start=1)) if isinstance(given, list) else given
        if not isinstance(value, dict) or not value:
            continue
        inner = {name: entry for name, entry in value.items() if _nested(entry)}
        if inner == value:
            tables.append(_table(_words(key), dict(_records(value))))
            continue
        tables += [_table(f"{_words(key)}: {_words(name)}", entry) for name, entry in inner.items()]
        rest = {name: entry for name, entry in value.items() if name not in inner}
        tables += [_table(_words(key), rest)] if rest else []
    return tuple(tables)


def _nested(value: object) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(entry, dict) for entry in value.values())


def _records(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the innermost mappings that hold no mappings, each with its path of keys."""
    for name, entry in value.items():
        entry_path = f"{path}, {_words(name)}" if path else str(name)
        if _nested(entry):
            yield from _records(entry, entry_path)
        else:
            yield entry_path, entry


def _table(title: str, entries: Mapping[str, Any]) -> Table:
    columns: tuple[str, ...] = ("value",)
    if all(isinstance(entry, dict) for entry in entries.values()):
        columns = tuple(
            name
            for name in dict.fromkeys(name for entry in entries.values() for name in entry)
            if not all(_is_histogram(entry.get(name)) for entry in entries.values())
        )
        rows = [(str(name), *(_text(entry.get(key)) for key in columns)) for name, entry in entries.items()]
    else:
        rows = [(_words(name), _text(entry)) for name, entry in entries.items()]
    if len(rows) > ROWS:
        rows = [*rows[:ROWS], (f"{len(rows) - ROWS:,} more", *[""] * len(columns))]
    return Table(title=title, columns=("", *map(_words, columns)), rows=tuple(rows))


def _is_histogram(value: object) -> bool:
    """Return whether a value is a long list of numbers, which does not fit in a cell."""
    return isinstance(value, list) and len(value) > ITEMS and all(isinstance(entry, int | float) for entry in value)


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _text(value: Any) -> str:
    """Return a value in words; long lists and mappings are cut and the rest counted."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        parts = [f"{_words(key)} {_text(entry)}" for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        parts = [_text(entry) for entry in value]
    else:
        return str(value)
    if not parts:
        return "none"
    rest = len(parts) - ITEMS
    return ", ".join(parts[:ITEMS]) + (f" and {rest:,} more" if rest > 0 else "")


def registry_section(registered: Registered) -> Registry:
    """Return the registered versions as a table, the decision, and the address of MLflow without its password."""
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
    """Return params as YAML text in the order of their models, with None written as ``null``."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        """A class of its own, because representers are registered with the class."""

    Representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))
    yaml = YAML()
    yaml.Representer = Representer
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    text = io.StringIO()
    yaml.dump(dict(tree), text)
    return text.getvalue()
