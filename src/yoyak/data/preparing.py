"""From the files that params name to splits that are fit for training and scoring, and a report of what was found.

Nothing is dropped silently: in the report, the rows of a file that came in are those that were kept plus those that
were dropped, by reason, the first of them listed with their place.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from yoyak import params
from yoyak.data import checks
from yoyak.data.cleaning import clean_row
from yoyak.data.lengths import length_report
from yoyak.data.reading import Row, Table, read_table
from yoyak.data.records import Dialogue
from yoyak.data.splitting import check_ratios, cut
from yoyak.errors import UserError
from yoyak.korean import masks

_LOG = logging.getLogger(__name__)
_CUTTABLE = ("dev", "test")
_TOPICS = 50


@dataclass(frozen=True, slots=True)
class Prepared:
    """The splits in the order train, dev, test, further ones; and the JSON-able report."""

    splits: dict[str, list[Dialogue]]
    report: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """One file, cleaned: every row, and its part of the report."""

    file: str
    rows: list[Row]
    report: dict[str, Any]


def prepare_splits(data: params.Data, seed: int) -> Prepared:
    """Read, clean, check and split the data files.

    Rows with an empty dialogue or no summary are dropped, and rows of train that repeat an earlier one wholly.
    Dialogues of train that also occur in another split are dropped from train, so that scores are honest. ``dev``
    and ``test`` are cut from what is left of train where they have no file. Raises UserError where a file cannot be
    used, ids repeat within a file, nothing is left of a split, or train is too small to be cut.
    """
    ratios = {name: getattr(data.split, name) for name in _CUTTABLE if name not in data.files}
    check_ratios(ratios)
    names = ["train", *_CUTTABLE, *(name for name in data.files if name not in ("train", *_CUTTABLE))]
    loaded = {name: _load(name, data) for name in names if name in data.files}
    rows = {name: _usable(part) for name, part in loaded.items()}
    train = loaded["train"]
    rows["train"], repeats = checks.without_repeats(rows["train"])
    _drop(train, repeats, "repeats an earlier row")
    leaked = _remove_leaks(rows, train)
    before = {**rows, "train": leaked.with_leaks}
    rows["train"] = leaked.kept
    if ratios:
        rows["train"], parts = cut(rows["train"], ratios, seed, file=train.file)
        rows.update(parts)
    files = {name: loaded.get(name, train).file for name in names}
    final = {name: rows[name] for name in names}
    splits = {name: [row.value for row in values] for name, values in final.items()}
    for name, part in loaded.items():
        part.report["rows_kept"] = len(leaked.kept if name == "train" else rows[name])
        _log_drops(part)
    report = {
        "seed": seed,
        "files": {name: part.report for name, part in loaded.items()},
        "splits": {name: _describe(splits[name], files[name], name in loaded) for name in names},
        "duplicates": {name: checks.duplicates(before.get(name, final[name]), files[name]) for name in names},
        "leakage": _leakage(before, final, files, leaked.removed),
        "masks": _mask_report(final, files),
        "lengths": length_report(splits),
    }
    return Prepared(splits, report)


def read_input(source: str | os.PathLike[str] | IO[Any], data: params.Data, name: str) -> list[Dialogue]:
    """Read and clean dialogues to be summarized, from a file or a stream such as ``sys.stdin.buffer``.

    Every row is kept, one with an empty dialogue too, so that the output has a row for each. Summaries are optional.
    With ``data.columns.id`` null the rows are called ``<name>_0`` and up. A stream is JSON lines if its first
    character is ``{``, else CSV. Raises UserError as `prepare_splits` does for its files.
    """
    table = read_table(source, data, name, prediction=True)
    rows, changes = _clean(table, data.max_chars, name)
    checks.check_ids(rows, table.file)
    empty = sum(not row.value.dialogue for row in rows)
    if empty:
        _LOG.warning("%s: empty dialogues kept: %d of %d", table.file, empty, len(rows))
    if "truncated" in changes:
        _LOG.warning("%s: dialogues cut to %d characters: %d", table.file, data.max_chars, changes["truncated"]["rows"])
    return [row.value for row in rows]


def _load(name: str, data: params.Data) -> _Loaded:
    table = read_table(Path(data.folder) / data.files[name], data, name)
    rows, changes = _clean(table, data.max_chars, name)
    checks.check_ids(rows, table.file)
    report = {**table.facts, "rows_in": len(rows), "rows_kept": 0, "dropped": {}, "changed": changes}
    return _Loaded(table.file, rows, report)


def _clean(table: Table, max_chars: int, name: str) -> tuple[list[Row], dict[str, Any]]:
    """Return clean rows, and for each kind of change the rows, how often, and the first rows."""
    rows: list[Row] = []
    changes: dict[str, Any] = {}
    # Quick files show no bar at all.
    for row in tqdm(table.rows, desc=f"clean {name}", unit="row", leave=False, delay=1):
        value, found = clean_row(row.value, max_chars)
        cleaned = Row(value=value, place=row.place)
        rows.append(cleaned)
        for kind, times in found.items():
            entry = changes.setdefault(kind, {"rows": 0, "times": 0, "examples": []})
            entry["rows"] += 1
            entry["times"] += times
            if len(entry["examples"]) < checks.EXAMPLES:
                entry["examples"].append(checks.example(cleaned, table.file))
    return rows, dict(sorted(changes.items()))


def _usable(part: _Loaded) -> list[Row]:
    """Return the rows of a file that can be used; report the others."""
    kept = []
    for row in part.rows:
        reason = checks.fault(row.value)
        if reason is None:
            kept.append(row)
        else:
            _drop(part, [row], reason)
    if not kept:
        reasons = ", ".join(f"{entry['rows']} {reason}" for reason, entry in part.report["dropped"].items())
        raise UserError(
            f"{part.file}: not one of {len(part.rows)} rows can be used ({reasons}); "
            "a row needs a dialogue and a summary."
        )
    return kept


def _drop(part: _Loaded, rows: Sequence[Row], reason: str) -> None:
    """Report rows as dropped."""
    if rows:
        entry = part.report["dropped"].setdefault(reason, {"rows": 0, "examples": []})
        entry["rows"] += len(rows)
        room = checks.EXAMPLES - len(entry["examples"])
        entry["examples"] += [checks.example(row, part.file) for row in rows[:room]]


def _log_drops(part: _Loaded) -> None:
    for reason, entry in part.report["dropped"].items():
        first = entry["examples"][0]["where"].removeprefix(f"{part.file}, ")
        _LOG.warning("%s: rows dropped: %d, %s (first: %s)", part.file, entry["rows"], reason, first)


@dataclass(frozen=True, slots=True)
class _Leaks:
    with_leaks: list[Row]
    kept: list[Row]
    removed: dict[str, int]
    """Rows of train that share their dialogue with the split; a row may count for several."""


def _remove_leaks(rows: Mapping[str, list[Row]], train: _Loaded) -> _Leaks:
    """Take out of train what also occurs in another file."""
    others = {
        name: {checks.fold(row.value.dialogue) for row in values} for name, values in rows.items() if name != "train"
    }
    removed = dict.fromkeys(others, 0)
    reasons: dict[str, list[Row]] = {}
    kept = []
    for row in rows["train"]:
        key = checks.fold(row.value.dialogue)
        homes = [name for name, keys in others.items() if key in keys]
        for name in homes:
            removed[name] += 1
        if homes:
            reasons.setdefault(f"also in {' and '.join(homes)}", []).append(row)
        else:
            kept.append(row)
    for reason, leaks in reasons.items():
        _drop(train, leaks, reason)
    if not kept:
        raise UserError(
            f"{train.file}: every dialogue also occurs in {' or '.join(name for name in others if removed[name])}; "
            "train on dialogues that no other split holds."
        )
    return _Leaks(rows["train"], kept, removed)


def _leakage(
    before: Mapping[str, list[Row]],
    final: Mapping[str, list[Row]],
    files: Mapping[str, str],
    removed: Mapping[str, int],
) -> list[dict[str, Any]]:
    """Return the dialogues shared by each pair of splits: of files as they came, of cut splits as they were cut."""
    found = []
    for one, other in combinations(final, 2):
        splits = before if one in before and other in before else final
        shared = checks.shared_dialogues(splits[one], splits[other])
        found.append(
            {
                "between": [one, other],
                "dialogues": len(shared),
                "rows_removed_from_train": removed.get(other, 0) if one == "train" else 0,
                "examples": [
                    {one: checks.example(first, files[one]), other: checks.example(second, files[other])}
                    for first, second in shared[: checks.EXAMPLES]
                ],
            }
        )
    return found


def _describe(rows: Sequence[Dialogue], file: str, own_file: bool) -> dict[str, Any]:
    topics = Counter(row.topic for row in rows if row.topic)
    return {
        "rows": len(rows),
        "from": file if own_file else f"cut from {file}",
        "references": dict(sorted(Counter(str(len(row.summaries)) for row in rows).items())),
        "topics": {
            "different": len(topics),
            "rows_without": sum(not row.topic for row in rows),
            "most_common": dict(sorted(topics.items(), key=lambda item: (-item[1], item[0]))[:_TOPICS]),
        },
        "slices": dict(sorted(Counter(row.slice for row in rows if row.slice).items())),
    }


def _mask_report(splits: Mapping[str, list[Row]], files: Mapping[str, str]) -> dict[str, Any]:
    """Return each mask's count in each split, the masks that train lacks, and ``#`` that belong to no mask."""
    counts: dict[str, dict[str, int]] = {}
    stray = 0
    examples: list[dict[str, Any]] = []
    for name, rows in splits.items():
        for mask, times in masks.count_masks(text for row in rows for text in _texts(row)).items():
            counts.setdefault(mask, dict.fromkeys(splits, 0))[name] = times
        for row in rows:
            words = [word for text in _texts(row) for word in masks.stray_hashes(text)]
            stray += bool(words)
            if words and len(examples) < checks.EXAMPLES:
                examples.append({**checks.example(row, files[name]), "words": words[:5]})
    counts = dict(sorted(counts.items(), key=lambda item: (-sum(item[1].values()), item[0])))
    return {
        "counts": counts,
        "not_in_train": [mask for mask, by_split in counts.items() if not by_split["train"]],
        "stray_hashes": {"rows": stray, "examples": examples},
    }


def _texts(row: Row) -> tuple[str, ...]:
    return (row.value.dialogue, *row.value.summaries)
