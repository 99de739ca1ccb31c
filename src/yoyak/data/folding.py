"""Holding out a part of the training set, so that members that hold out one part each cover all of it together.

As with splits, a hash of a row's group decides, so that no group is in two parts and new rows move no others. Rows of a
held-out dialogue that are in another group as well are left out of both, so that none is trained on.
"""

from __future__ import annotations

from collections.abc import Sequence

from yoyak.data.keys import dialogue_key
from yoyak.data.records import Dialogue
from yoyak.data.splitting import hash_to_position
from yoyak.errors import UserError

SEED = "fold"
"""Not that of the splits: train is what lies between certain positions of theirs."""


def hold_out(rows: Sequence[Dialogue], index: int, parts: int) -> tuple[list[Dialogue], list[Dialogue]]:
    """Return the rows of all other parts, without dialogues that part ``index`` has too, and those of that part.

    Parts are counted from 1. Rows that augmentation made are in no part: they are kept if the row that they were made
    from is.

    Raises UserError if there are too few rows for one of the two to have any.
    """
    kept: list[Dialogue] = []
    held_out: list[Dialogue] = []
    for row in rows:
        if row.method:
            continue
        position = hash_to_position(row.group or dialogue_key(row.dialogue), SEED)
        (held_out if int(position * parts) == index - 1 else kept).append(row)
    held_out_keys = {dialogue_key(row.dialogue) for row in held_out}
    kept = [row for row in kept if dialogue_key(row.dialogue) not in held_out_keys]
    if not kept or not held_out:
        raise UserError(
            f"the training set has {len(rows)} rows, too few for {parts} parts: "
            f"part {index} {'would be all of it' if held_out else 'is empty'}; use fewer."
        )
    sources = {row.fname for row in kept} | {""}
    kept += [
        row for row in rows if row.method and row.source in sources and dialogue_key(row.dialogue) not in held_out_keys
    ]
    return kept, held_out
