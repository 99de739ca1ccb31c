"""Splitting rows into train and other splits, so that neither new rows nor another training seed moves existing ones.

Each group of rows has a position in [0, 1): a hash of its key and the split seed. ``test`` gets the positions below
its share, ``dev`` those within its share of the top, ``gate`` those from the middle on, ``train`` the rest. A row's
split therefore depends only on its group, the split seed and the shares. Rows with the same value of
``data.columns.group``, such as the excerpts of one conversation, form a group; without that column, rows with
identical dialogues do.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from yoyak.data.keys import dialogue_key
from yoyak.data.reading import SourceRow
from yoyak.data.source_rows import SourceRows
from yoyak.errors import UserError
from yoyak.project import DEV, GATE, TEST, TRAIN

_GATE_START = 0.5
"""Position where gate starts, unless it meets test or dev there: far from both, so that their shares do not move it."""
_ALL = (TRAIN, DEV, TEST, GATE)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """The rows of one file by split, in the file's order."""

    rows: dict[str, SourceRows]
    """``train`` and every split that was requested; none is empty."""
    overlaps: dict[str, SourceRows]
    """By split: rows dropped because their dialogue is also in that split, in another group."""


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise UserError unless every requested split has a share and some rows are left for train."""
    for name, share in shares.items():
        if share <= 0:
            raise UserError(
                f"data.split.{name} is {share:g}, but data.files has no {name} file: add one, or set a share above 0."
            )
    if sum(shares.values()) >= 1:
        keys = " and ".join(f"data.split.{name}" for name in shares)
        raise UserError(f"{keys} leave no rows for train: their sum must be below 1.")


def split_rows(rows: SourceRows, shares: Mapping[str, float], seed: int, *, file: str) -> SplitRows:
    """Split rows into train and the splits in ``shares`` (``dev``, ``test``, ``gate``), keeping groups together.

    Because of hashing, shares are approximate: 10% of 1,000 groups are 100 ± 19. If a split would be empty because the
    file is small, it gets the nearest group, with a warning; only such a group may move when rows are added. Gate is
    taken from what train would get without it, so that it moves nothing in test and dev. A dialogue that occurs in
    several splits through different groups stays in one of them: test first, then dev, then gate, then train. Raises
    UserError if there are too few groups.
    """
    check_shares(shares)
    groups, first, group_of_row = np.unique(rows.groups, return_index=True, return_inverse=True)
    if len(groups) <= len(shares):
        names = ", ".join([*shares, TRAIN])
        raise UserError(
            f"{file} has {len(groups)} group{'' if len(groups) == 1 else 's'} of dialogues to split into {names}: "
            f"it needs at least {len(shares) + 1}, or give {' and '.join(shares)} a file in data.files."
        )
    # In the order of the file, so that the first of equally near groups is the same whatever their digests are.
    order = np.argsort(first)
    positions = np.fromiter((_position(row, seed) for row in rows.select(first[order])), float, len(groups))
    splits = np.empty(len(groups), np.intp)
    splits[order] = _assign_groups(positions, shares, file)
    split_of_row = splits[group_of_row]
    return _remove_overlaps({name: rows.select(split_of_row == _ALL.index(name)) for name in (TRAIN, *shares)})


def _position(row: SourceRow, seed: int) -> float:
    return hash_to_position(row.group or dialogue_key(row.value.dialogue), seed)


def hash_to_position(key: str, seed: int | str) -> float:
    """Return a number in [0, 1) that is the same in every process and for every file."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    # A float holds 53 bits: a longer number could round up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def _assign_groups(positions: np.ndarray, shares: Mapping[str, float], file: str) -> np.ndarray:
    """Return [groups]: the split of each, an index into `_ALL`; every split gets at least one."""
    # Opposite ends, so that changing one share moves no rows between test and dev.
    low, high = shares.get(TEST, 0.0), 1 - shares.get(DEV, 0.0)
    bounds = {DEV: [(high, 1.0)], TEST: [(0.0, low)]}
    splits = _divide(positions, {name: bounds[name] for name in shares if name != GATE} | {TRAIN: [(low, high)]}, file)
    if GATE not in shares:
        return splits
    trained = splits == _ALL.index(TRAIN)
    if trained.sum() < 2:
        raise UserError(f"{file} has too few different dialogues for data.split.gate: give gate a file in data.files.")
    start = max(low, min(_GATE_START, high - shares[GATE]))
    end = start + shares[GATE]
    splits[trained] = _divide(positions[trained], {GATE: [(start, end)], TRAIN: [(low, start), (end, high)]}, file)
    return splits


def _divide(positions: np.ndarray, bounds: Mapping[str, Sequence[tuple[float, float]]], file: str) -> np.ndarray:
    """Return [groups]: the split that has its position within its bounds, or else train.

    A split without any group gets the nearest one, with a warning.
    """
    splits = np.full(len(positions), _ALL.index(TRAIN))
    for name in reversed([*bounds]):
        inside = [(positions >= start) & (positions < end) for start, end in bounds[name]]
        splits[np.logical_or.reduce(inside)] = _ALL.index(name)
    for name in bounds:
        sizes = np.bincount(splits, minlength=len(_ALL))
        if sizes[_ALL.index(name)]:
            continue
        distances = np.min([np.maximum(start - positions, positions - end) for start, end in bounds[name]], axis=0)
        distances[sizes[splits] == 1] = np.inf
        splits[np.argmin(distances)] = _ALL.index(name)
        _LOG.warning(
            "%s: too few dialogues for data.split: none falls into %s, so it gets the nearest one; adding rows may "
            "move it",
            file,
            name,
        )
    return splits


def _remove_overlaps(by_split: Mapping[str, SourceRows]) -> SplitRows:
    """Keep each dialogue in one split only, preferring held-out splits."""
    kept: dict[str, SourceRows] = {}
    overlaps: dict[str, list[np.ndarray]] = {}
    names = [name for name in (TEST, DEV, GATE, TRAIN) if name in by_split]
    for number, name in enumerate(names):
        rows = by_split[name]
        owners = np.full(len(rows), -1)
        for index in reversed(range(number)):
            owners[np.isin(rows.keys, by_split[names[index]].keys)] = index
        kept[name] = rows.select(owners < 0)
        for index in dict.fromkeys(owners[owners >= 0].tolist()):
            overlaps.setdefault(names[index], []).append(rows.indices[owners == index])
    rows = by_split[TRAIN]
    return SplitRows(
        rows={name: kept[name] for name in by_split},
        overlaps={name: rows.at(np.concatenate(indices)) for name, indices in overlaps.items()},
    )
