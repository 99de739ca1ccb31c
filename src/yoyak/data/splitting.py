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
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoyak.data.checks import dialogue_key
from yoyak.data.reading import SourceRow
from yoyak.errors import UserError
from yoyak.project import DEV, GATE, TEST, TRAIN

_GATE_START = 0.5
"""Position where gate starts, unless it meets test or dev there: far from both, so that their shares do not move it."""
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """The rows of one file by split, in the file's order."""

    rows: dict[str, list[SourceRow]]
    """``train`` and every split that was requested; none is empty."""
    overlaps: dict[str, list[SourceRow]]
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


def split_rows(rows: Sequence[SourceRow], shares: Mapping[str, float], seed: int, *, file: str) -> SplitRows:
    """Split rows into train and the splits in ``shares`` (``dev``, ``test``, ``gate``), keeping groups together.

    Because of hashing, shares are approximate: 10% of 1,000 groups are 100 ± 19. If a split would be empty because the
    file is small, it gets the nearest group, with a warning; only such a group may move when rows are added. Gate is
    taken from what train would get without it, so that it moves nothing in test and dev. A dialogue that occurs in
    several splits through different groups stays in one of them: test first, then dev, then gate, then train. Raises
    UserError if there are too few groups.
    """
    check_shares(shares)
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.group or dialogue_key(row.value.dialogue), []).append(index)
    if len(groups) <= len(shares):
        names = ", ".join([*shares, TRAIN])
        raise UserError(
            f"{file} has {len(groups)} group{'' if len(groups) == 1 else 's'} of dialogues to split into {names}: "
            f"it needs at least {len(shares) + 1}, or give {' and '.join(shares)} a file in data.files."
        )
    split_of_group = _assign_groups({key: hash_to_position(key, seed) for key in groups}, shares, file)
    split_of_row = {index: split_of_group[key] for key, indices in groups.items() for index in indices}
    by_split: dict[str, list[SourceRow]] = {name: [] for name in (TRAIN, *shares)}
    for index, row in enumerate(rows):
        by_split[split_of_row[index]].append(row)
    return _remove_overlaps(by_split)


def hash_to_position(key: str, seed: int | str) -> float:
    """Return a number in [0, 1) that is the same in every process and for every file."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    # A float holds 53 bits: a longer number could round up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def _assign_groups(positions: Mapping[str, float], shares: Mapping[str, float], file: str) -> dict[str, str]:
    """Return the split of each group; every split gets at least one."""
    # Opposite ends, so that changing one share moves no rows between test and dev.
    low, high = shares.get(TEST, 0.0), 1 - shares.get(DEV, 0.0)
    bounds = {DEV: [(high, 1.0)], TEST: [(0.0, low)]}
    splits = _divide(positions, {name: bounds[name] for name in shares if name != GATE} | {TRAIN: [(low, high)]}, file)
    if GATE not in shares:
        return splits
    trained = {key: position for key, position in positions.items() if splits[key] == TRAIN}
    if len(trained) < 2:
        raise UserError(f"{file} has too few different dialogues for data.split.gate: give gate a file in data.files.")
    start = max(low, min(_GATE_START, high - shares[GATE]))
    end = start + shares[GATE]
    return splits | _divide(trained, {GATE: [(start, end)], TRAIN: [(low, start), (end, high)]}, file)


def _divide(
    positions: Mapping[str, float], bounds: Mapping[str, Sequence[tuple[float, float]]], file: str
) -> dict[str, str]:
    """Return the split of each group, the one that has its position within its bounds, or else train.

    A split without any group gets the nearest one, with a warning.
    """

    def distance(position: float, name: str) -> float:
        return min(max(start - position, position - end) for start, end in bounds[name])

    def is_inside(position: float, name: str) -> bool:
        return any(start <= position < end for start, end in bounds[name])

    splits = {
        key: next((name for name in bounds if is_inside(position, name)), TRAIN) for key, position in positions.items()
    }
    for name in bounds:
        sizes = Counter(splits.values())
        if sizes[name]:
            continue
        distances = {key: distance(position, name) for key, position in positions.items() if sizes[splits[key]] > 1}
        nearest = min(distances, key=lambda key: distances[key])
        splits[nearest] = name
        _LOG.warning(
            "%s: too few dialogues for data.split: none falls into %s, so it gets the nearest one; adding rows may "
            "move it",
            file,
            name,
        )
    return splits


def _remove_overlaps(by_split: Mapping[str, list[SourceRow]]) -> SplitRows:
    """Keep each dialogue in one split only, preferring held-out splits."""
    kept: dict[str, list[SourceRow]] = {}
    overlaps: dict[str, list[SourceRow]] = {}
    split_of_dialogue: dict[str, str] = {}
    for name in (TEST, DEV, GATE, TRAIN):
        if name not in by_split:
            continue
        keys = [dialogue_key(row.value.dialogue) for row in by_split[name]]
        kept[name] = [row for row, key in zip(by_split[name], keys, strict=True) if key not in split_of_dialogue]
        for row, key in zip(by_split[name], keys, strict=True):
            if key in split_of_dialogue:
                overlaps.setdefault(split_of_dialogue[key], []).append(row)
        split_of_dialogue = {**dict.fromkeys(keys, name), **split_of_dialogue}
    return SplitRows(rows={name: kept[name] for name in by_split}, overlaps=overlaps)
