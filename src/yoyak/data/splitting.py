"""Cutting splits from rows: by ratio, seeded, and so that a repeated dialogue never lies on both sides."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from yoyak.data.checks import fold
from yoyak.data.reading import Row
from yoyak.errors import UserError


def check_ratios(ratios: Mapping[str, float]) -> None:
    """Raise UserError unless every split that has to be cut has a share and some rows are left for train."""
    for name, ratio in ratios.items():
        if ratio <= 0:
            raise UserError(
                f"data.split.{name} is {ratio:g} but data.files has no {name} file: name one, or set a ratio above 0."
            )
    if sum(ratios.values()) >= 1:
        parts = " and ".join(f"data.split.{name}" for name in ratios)
        raise UserError(f"{parts} leave no rows for train: their sum must be below 1.")


def cut(
    rows: Sequence[Row], ratios: Mapping[str, float], seed: int, *, file: str
) -> tuple[list[Row], dict[str, list[Row]]]:
    """Return the rows that are left for train and those of each split in ``ratios``.

    Rows whose dialogues are the same but for whitespace and case stay together. A split gets its share of the rows,
    rounded, at least one and as nearly as whole groups allow. Which rows those are depends on the seed and on the
    dialogues, not on the order of the rows; that order is kept within each split. Raises UserError if there are
    fewer different dialogues than splits.
    """
    check_ratios(ratios)
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(fold(row.value.dialogue), []).append(index)
    if len(groups) <= len(ratios):
        wanted = ", ".join([*ratios, "train"])
        raise UserError(
            f"{file} has {len(groups)} different dialogue{'' if len(groups) == 1 else 's'} to cut {wanted} from: "
            f"it needs at least {len(ratios) + 1}, or give {' and '.join(ratios)} a file in data.files."
        )
    waiting = sorted(groups.values(), key=lambda group: _lot(rows[group[0]], seed))
    splits: dict[str, list[Row]] = {}
    for number, (name, ratio) in enumerate(ratios.items(), 1):
        room = max(1, round(ratio * len(rows)))
        # Each split that comes after this one, and train, needs at least one group.
        spare = len(waiting) - (len(ratios) - number + 1)
        taken: list[list[int]] = []
        for group in waiting:
            if len(group) <= room and len(taken) < spare:
                taken.append(group)
                room -= len(group)
        if not taken:
            taken = [min(waiting, key=len)]
        chosen = {group[0] for group in taken}
        waiting = [group for group in waiting if group[0] not in chosen]
        splits[name] = [rows[index] for index in sorted(index for group in taken for index in group)]
    left = sorted(index for group in waiting for index in group)
    return [rows[index] for index in left], splits


def _lot(row: Row, seed: int) -> bytes:
    """Draw a dialogue's place in the order of cutting; hashing makes it the same in every process and file."""
    return hashlib.sha256(f"{seed}\n{fold(row.value.dialogue)}".encode()).digest()
