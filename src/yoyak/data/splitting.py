"""Splitting rows into train, dev and test, so that neither more rows nor another training seed moves an old one.

Each group of rows has a position in [0, 1), the hash of its key and of the split seed. ``test`` takes the positions
below its share, ``dev`` those within its share of the top, ``train`` the rest. A row's split therefore depends on
nothing but its own group, the split seed and the share of that split. A group is a value of ``data.columns.group``,
such as the conversation that several dialogues are parts of; without one it is all rows whose dialogues are the same.
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

TRAIN, DEV, TEST = "train", "dev", "test"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRows:
    """The rows of one file, by split and in the file's order."""

    rows: dict[str, list[SourceRow]]
    """``train`` and every split that was requested; none is empty."""
    overlaps: dict[str, list[SourceRow]]
    """By split: rows left out because their dialogue is in that split too, in another group."""


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise UserError unless every requested split has a share and some rows are left for train."""
    for name, share in shares.items():
        if share <= 0:
            raise UserError(
                f"data.split.{name} is {share:g} but data.files has no {name} file: name one, or set a share above 0."
            )
    if sum(shares.values()) >= 1:
        keys = " and ".join(f"data.split.{name}" for name in shares)
        raise UserError(f"{keys} leave no rows for train: their sum must be below 1.")


def split_rows(rows: Sequence[SourceRow], shares: Mapping[str, float], seed: int, *, file: str) -> SplitRows:
    """SplitRows rows into train and the splits in ``shares`` (``dev``, ``test``), whole groups at a time.

    Shares are kept as well as hashing keeps them: 10 % of 1,000 groups are 100 give or take 19. In a file so small
    that a split would be empty, the group nearest to it is taken, with a warning; only such a group can be moved by
    further rows. A dialogue that is in groups of different splits stays in one of them, test before dev before
    train. Raises UserError if there are fewer groups than splits.
    """
    check_shares(shares)
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row.group or dialogue_key(row.value.dialogue), []).append(index)
    if len(groups) <= len(shares):
        names = ", ".join([*shares, TRAIN])
        raise UserError(
            f"{file} has {len(groups)} different dialogue{'' if len(groups) == 1 else 's'} to split into {names}: "
            f"it needs at least {len(shares) + 1}, or give {' and '.join(shares)} a file in data.files."
        )
    split_of_group = _assign_groups({key: _position(key, seed) for key in groups}, shares, file)
    split_of_row = {index: split_of_group[key] for key, indices in groups.items() for index in indices}
    by_split: dict[str, list[SourceRow]] = {name: [] for name in (TRAIN, *shares)}
    for index, row in enumerate(rows):
        by_split[split_of_row[index]].append(row)
    return _remove_overlaps(by_split)


def _position(key: str, seed: int) -> float:
    """Return a number in [0, 1) that is the same in every process and for every file."""
    digest = hashlib.sha256(f"{seed}\n{key}".encode()).digest()
    # 53 bits are what a float holds: a longer number could be rounded up to 1.
    return (int.from_bytes(digest[:8], "big") >> 11) / (1 << 53)


def _assign_groups(positions: Mapping[str, float], shares: Mapping[str, float], file: str) -> dict[str, str]:
    """Return the split of each group; every split gets at least one."""
    # The two ends, so that another share of one split moves nothing between it and the other.
    low, high = shares.get(TEST, 0.0), 1 - shares.get(DEV, 0.0)
    bounds = {TEST: (0.0, low), DEV: (high, 1.0), TRAIN: (low, high)}
    splits = {
        key: TEST if position < low else DEV if position >= high else TRAIN for key, position in positions.items()
    }
    for name in (*shares, TRAIN):
        sizes = Counter(splits.values())
        if sizes[name]:
            continue
        start, end = bounds[name]
        distances = {
            key: max(start - position, position - end) for key, position in positions.items() if sizes[splits[key]] > 1
        }
        nearest = min(distances, key=lambda key: distances[key])
        splits[nearest] = name
        _LOG.warning(
            "%s: too few dialogues for data.split: none falls into %s, so the nearest one is put there; more rows may "
            "move it",
            file,
            name,
        )
    return splits


def _remove_overlaps(by_split: Mapping[str, list[SourceRow]]) -> SplitRows:
    """Leave each dialogue in one split: a held-out one where it is in any."""
    kept: dict[str, list[SourceRow]] = {}
    overlaps: dict[str, list[SourceRow]] = {}
    held: dict[str, str] = {}
    for name in (TEST, DEV, TRAIN):
        if name not in by_split:
            continue
        keys = [dialogue_key(row.value.dialogue) for row in by_split[name]]
        kept[name] = [row for row, key in zip(by_split[name], keys, strict=True) if key not in held]
        for row, key in zip(by_split[name], keys, strict=True):
            if key in held:
                overlaps.setdefault(held[key], []).append(row)
        held = {**dict.fromkeys(keys, name), **held}
    return SplitRows(rows={name: kept[name] for name in by_split}, overlaps=overlaps)
