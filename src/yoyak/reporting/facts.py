"""Tables of plain facts: the splits as they are on disk, what `prepare` found, what was registered, the params."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from yoyak.errors import UserError
from yoyak.reporting.view import Table

ROWS = 40
"""Rows of a table that `prepare` gave; more are counted."""
ITEMS = 6


def splits(root: Path) -> Table:
    """Return the size of each prepared split: rows, references, topics, turns, characters."""
    rows = []
    order = {"train": 0, "dev": 1, "test": 2}
    paths = sorted(
        (root / "prepared").glob("*.jsonl"), key=lambda path: (order.get(path.stem, len(order)), path.stem)
    )
    for path in paths:
        turns, chars, written, references, topics = [], [], [], set(), set()
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    value = json.loads(line)
                except json.JSONDecodeError as error:
                    raise UserError(f"prepared/{path.name}, line {number}: not valid JSON ({error}).") from error
                turns.append(value["dialogue"].count("\n") + 1)
                chars.append(len(value["dialogue"]))
                written += [len(summary) for summary in value["summaries"]]
                references.add(len(value["summaries"]))
                topics.add(value["topic"])
        cells = (_spread(references), f"{len(topics - {''}):,}", _middle(turns), _middle(chars), _middle(written))
        rows.append((path.stem, f"{len(turns):,}", *cells))
    columns = ("split", "dialogues", "references each", "topics", "turns", "characters", "summary characters")
    return Table(title="Prepared splits", columns=columns, rows=tuple(rows))


def _spread(values: set[int]) -> str:
    if not values:
        return "–"
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}–{high}"


def _middle(values: Sequence[int]) -> str:
    return f"{median(values):,.0f} ({min(values):,}–{max(values):,})" if values else "–"


def tables(report: Mapping[str, Any]) -> tuple[Table, ...]:
    """Return what a free-form report says, as tables: one of its single values, one for each mapping or list."""
    single = [(_words(key), _text(value)) for key, value in report.items() if not isinstance(value, dict | list)]
    found = [Table(title="Summary", columns=("", "value"), rows=tuple(single))] if single else []
    for key, value in report.items():
        if isinstance(value, dict | list) and value:
            found.append(_table(_words(key), value))
    return tuple(found)


def _table(title: str, value: Mapping[str, Any] | Sequence[Any]) -> Table:
    if isinstance(value, Mapping):
        entries = {str(name): entry for name, entry in value.items()}
    else:
        entries = {str(place): entry for place, entry in enumerate(value, start=1)}
    columns: tuple[str, ...] = ("value",)
    if all(isinstance(entry, Mapping) for entry in entries.values()):
        columns = tuple(dict.fromkeys(name for entry in entries.values() for name in entry))
        rows = [(name, *(_text(entry.get(key)) for key in columns)) for name, entry in entries.items()]
    else:
        rows = [(name, _text(entry)) for name, entry in entries.items()]
    if len(rows) > ROWS:
        rest = len(rows) - ROWS
        rows = [*rows[:ROWS], (f"{rest:,} more", *[""] * len(columns))]
    return Table(title=title, columns=("", *map(_words, columns)), rows=tuple(rows))


def _words(key: object) -> str:
    return str(key).replace("_", " ")


def _text(value: Any) -> str:
    """Return a value as a person would write it; long lists and mappings are cut and counted."""
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


def registry(registered: Mapping[str, Any]) -> dict[str, object]:
    """Return the versions as a table, the decision, and the tracking address without its password."""
    rows = [
        (
            str(entry.get("name", "")),
            str(entry.get("version", "")),
            str(entry.get("member", "")),
            ", ".join(entry.get("aliases") or ()) or "–",
            str(entry.get("run_id", "")),
            "yes" if entry.get("restored") else "no",
        )
        for entry in registered.get("registered") or ()
    ]
    columns = ("model", "version", "member", "aliases", "run", "restored")
    return {
        "table": Table(title="Registered versions", columns=columns, rows=tuple(rows)),
        "decision": str(registered.get("decision") or ""),
        "tracking_uri": without_password(str(registered.get("tracking_uri") or "")),
    }


def without_password(uri: str) -> str:
    """Return an address with the user and password cut out: a report is passed around."""
    if "@" not in uri:
        return uri
    address = urlsplit(uri)
    return urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2]))


def as_yaml(tree: Mapping[str, Any]) -> str:
    """Return params as YAML text in the order of their models."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    text = io.StringIO()
    yaml.dump(dict(tree), text)
    return re.sub(r"\n+\Z", "\n", text.getvalue())
