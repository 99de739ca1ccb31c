"""Preparing the data files: splits that are ready for training and scoring, and a report of all changes.

Nothing is dropped silently: the report counts the rows read, kept and dropped for each file, the latter by reason
with the locations of the first ones.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from yoyak import params
from yoyak.data import checks
from yoyak.data.cleaning import clean_line, clean_row
from yoyak.data.lengths import length_report
from yoyak.data.reading import OptionalColumn, SourceRow, SourceTable, open_table
from yoyak.data.records import Dialogue
from yoyak.data.report import describe_leakage, describe_masks, describe_split
from yoyak.data.source_rows import Dialogues, SourceRows, store_rows
from yoyak.data.splitting import check_shares, split_rows
from yoyak.errors import UserError
from yoyak.project import DEV, GATE, TEST, TRAIN

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prepared:
    """The splits in the order train, dev, test, gate, others; and the report, ready for JSON."""

    splits: dict[str, Sequence[Dialogue]]
    """On disk: rows are read when they are asked for."""
    facts: dict[str, Sequence[SourceRow]]
    """The rows of each split but train whose facts may be known."""
    report: dict[str, Any]
    added: list[Dialogue] = field(default_factory=list)
    """Rows that augmentation adds to train."""


@dataclass(frozen=True, slots=True)
class _File:
    """One cleaned file: its rows, and its part of the report."""

    path: str
    rows: SourceRows
    report: dict[str, Any]


def prepare_splits(data: params.Data, folder: Path | None = None) -> Prepared:
    """Read, clean, check and split the data files.

    Rows with an empty dialogue or no summary are dropped, as are exact repeats within train. Dialogues that also occur
    in another split are dropped from train, to prevent leakage; those that also occur in dev are dropped from gate,
    since dev is what models are selected on. ``dev``, ``test`` and, if it has a share, ``gate`` are then split from
    train unless they have a file. Raises UserError if a file is unusable, ids repeat within a file, a split ends up
    empty, or train is too small to split.

    Args:
        folder: Where the cleaned rows are kept until they are no longer needed, by default that of temporary files.
            They take as much room as the files.
    """
    splits_of_train = (DEV, TEST, GATE) if data.split.gate else (DEV, TEST)
    shares = {name: getattr(data.split, name) for name in splits_of_train if name not in data.files}
    check_shares(shares)
    names = [name for name in (TRAIN, DEV, TEST, GATE) if name in data.files or name in shares]
    names += [name for name in data.files if name not in names]
    files = {name: _read_file(name, data, shares, folder) for name in names if name in data.files}
    rows = {name: _drop_unusable(file) for name, file in files.items()}
    train = files[TRAIN]
    rows[TRAIN], repeats = checks.separate_repeats(rows[TRAIN])
    _report_dropped(train, repeats, "repeats an earlier row")
    rows_before_removal = dict(rows)
    rows[TRAIN], from_train = _remove_leaks(train, rows[TRAIN], {name: rows[name] for name in rows if name != TRAIN})
    removed = {TRAIN: from_train}
    if GATE in rows and DEV in rows:
        rows[GATE], removed[GATE] = _remove_leaks(files[GATE], rows[GATE], {DEV: rows[DEV]})
    if shares:
        split = split_rows(rows[TRAIN], shares, data.split.seed, file=train.path)
        rows.update(split.rows)
        for name, overlaps in split.overlaps.items():
            _report_dropped(train, overlaps, f"also in {name}")
    paths = {name: files.get(name, train).path for name in names}
    final = {name: rows[name] for name in names}
    # Folds are cut from train when a member is trained.
    splits: dict[str, Sequence[Dialogue]] = {
        name: Dialogues(values, with_groups=name == TRAIN) for name, values in final.items()
    }
    for name, file in files.items():
        from_file = [name, *shares] if name == TRAIN else [name]
        file.report["rows_kept"] = sum(len(rows[split_name]) for split_name in from_file)
        _log_dropped(file)
    report = {
        "split_seed": data.split.seed if shares else None,
        "files": {name: file.report for name, file in files.items()},
        "splits": {
            name: describe_split(splits[name], paths[name] if name in files else f"split from {paths[name]}")
            for name in names
        },
        "duplicates": {
            name: checks.count_duplicates(rows_before_removal.get(name, final[name]), paths[name]) for name in names
        },
        "leakage": describe_leakage(rows_before_removal, final, paths, removed),
        "masks": describe_masks(final, paths),
        "lengths": length_report(splits),
    }
    return Prepared(splits, {name: values for name, values in final.items() if name != TRAIN}, report)


def read_input(source: str | os.PathLike[str] | IO[Any], data: params.Data, name: str) -> list[Dialogue]:
    """Read and clean dialogues to summarize, from a file or a stream such as ``sys.stdin.buffer``.

    Every row is kept, even with an empty dialogue, so that the output has one row per input row. Summaries are
    optional. With ``data.columns.id`` null the rows are named ``<name>_0``, ``<name>_1`` and so on. A stream is JSON
    lines if its first character is ``{``, else CSV. Raises UserError under the same conditions as `prepare_splits`.
    """
    with open_table(source, data, name, required=()) as table:
        changes: dict[str, Any] = {}
        rows = store_rows(_clean_rows(table, data.max_chars, name, changes))
    checks.check_ids(rows, table.file)
    dialogues = list(Dialogues(rows, with_groups=False))
    empty = sum(not row.dialogue for row in dialogues)
    if empty:
        _LOG.warning("%s: empty dialogues kept: %d of %d", table.file, empty, len(rows))
    if "truncated" in changes:
        _LOG.warning(
            "%s: dialogues truncated to %d characters: %d", table.file, data.max_chars, changes["truncated"]["rows"]
        )
    return dialogues


def _read_file(name: str, data: params.Data, shares: Mapping[str, float], folder: Path | None) -> _File:
    required: tuple[OptionalColumn, ...] = ("summary", "group") if name == TRAIN and shares else ("summary",)
    changes: dict[str, Any] = {}
    with open_table(Path(data.folder) / data.files[name], data, name, required=required) as table:
        rows = store_rows(_clean_rows(table, data.max_chars, name, changes), folder)
    checks.check_ids(rows, table.file)
    report = {
        **table.format,
        "rows_in": len(rows),
        "rows_kept": 0,
        "dropped": {},
        "changed": dict(sorted(changes.items())),
    }
    return _File(table.file, rows, report)


def _clean_rows(table: SourceTable, max_chars: int, name: str, changes: dict[str, Any]) -> Iterator[SourceRow]:
    """Yield the clean rows; add to ``changes``, for each kind of change, the affected rows, its count, and examples."""
    # The delay hides the bar for small files.
    with tqdm(total=table.size, desc=f"clean {name}", unit="B", unit_scale=True, leave=False, delay=1) as bar:
        for row in table.rows:
            value, row_changes = clean_row(row.value, max_chars)
            cleaned = replace(row, value=value, group=clean_line(row.group)[0])
            for kind, times in row_changes.items():
                entry = changes.setdefault(kind, {"rows": 0, "times": 0, "examples": []})
                entry["rows"] += 1
                entry["times"] += times
                if len(entry["examples"]) < checks.MAX_EXAMPLES:
                    entry["examples"].append(checks.locate(cleaned, table.file))
            yield cleaned
            bar.update(table.position() - bar.n)


def _drop_unusable(file: _File) -> SourceRows:
    """Return the usable rows of a file; report the others."""
    usable = np.ones(len(file.rows), bool)
    for index, row in enumerate(file.rows):
        reason = checks.unusable_reason(row.value)
        if reason is not None:
            usable[index] = False
            _report_dropped(file, [row], reason)
    if not usable.any():
        reasons = ", ".join(f"{entry['rows']} {reason}" for reason, entry in file.report["dropped"].items())
        raise UserError(
            f"{file.path}: none of its {len(file.rows)} rows is usable ({reasons}); "
            "a row needs a dialogue and a summary."
        )
    return file.rows.select(usable)


def _report_dropped(file: _File, rows: Sequence[SourceRow], reason: str) -> None:
    if rows:
        entry = file.report["dropped"].setdefault(reason, {"rows": 0, "examples": []})
        entry["rows"] += len(rows)
        room = checks.MAX_EXAMPLES - len(entry["examples"])
        entry["examples"] += [checks.locate(row, file.path) for row in rows[:room]]


def _log_dropped(file: _File) -> None:
    for reason, entry in file.report["dropped"].items():
        first = entry["examples"][0]["where"].removeprefix(f"{file.path}, ")
        _LOG.warning("%s: rows dropped: %d, %s (first: %s)", file.path, entry["rows"], reason, first)


def _remove_leaks(file: _File, rows: SourceRows, others: Mapping[str, SourceRows]) -> tuple[SourceRows, dict[str, int]]:
    """Return the rows of a file whose dialogues are in no other split, and the number of removed rows by other split.

    A row whose dialogue is in several of the other splits counts for each of them.
    """
    if not others:
        return rows, {}
    keys = rows.keys
    shared = np.array([np.isin(keys, other_rows.keys) for other_rows in others.values()])
    leaks: np.ndarray = np.logical_or.reduce(shared)
    # By the splits that have the dialogue too, in the order in which they come up.
    combinations = (1 << np.arange(len(others))) @ shared
    found, first = np.unique(combinations[leaks], return_index=True)
    for combination in found[np.argsort(first)].tolist():
        also_in = [name for number, name in enumerate(others) if combination >> number & 1]
        leaked = rows.select(combinations == combination)
        _report_dropped(file, leaked, f"also in {' and '.join(also_in)}")
    removed = {name: int(count) for name, count in zip(others, shared.sum(axis=1), strict=True)}
    if leaks.all():
        raise UserError(
            f"{file.path}: every dialogue also occurs in {' or '.join(name for name in others if removed[name])}; "
            "this file needs dialogues that are not there."
        )
    return rows.select(~leaks), removed
