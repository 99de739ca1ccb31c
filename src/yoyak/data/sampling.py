"""Samples of a split that a seed decides."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from yoyak.data.records import Dialogue


def draw_sample(rows: Sequence[Dialogue], size: int | None, seed: int) -> list[Dialogue]:
    """Return ``size`` rows in their order; all of them if it is None or there are no more.

    A row's own digest decides about it: a larger sample contains a smaller one, and rows that come or go elsewhere
    change little. So raising the size asks only for what is new.
    """
    if size is None or size >= len(rows):
        return list(rows)
    digests = [hashlib.sha256(f"{seed} {row.fname}\n{row.dialogue}".encode()).digest() for row in rows]
    chosen = sorted(range(len(rows)), key=digests.__getitem__)[:size]
    return [rows[index] for index in sorted(chosen)]
