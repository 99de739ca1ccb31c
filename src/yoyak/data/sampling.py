"""Samples of a split that a seed decides."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Collection

from yoyak.data.records import Dialogue


def draw_sample(rows: Collection[Dialogue], size: int | None, seed: int) -> Collection[Dialogue]:
    """Return ``size`` rows in their order; ``rows`` themselves if it is None or there are no more.

    A row's own digest decides about it: a larger sample contains a smaller one, and rows that come or go elsewhere
    change little. So raising the size asks only for what is new.
    """
    if size is None or size >= len(rows):
        return rows
    digests = (
        (hashlib.sha256(f"{seed} {row.fname}\n{row.dialogue}".encode()).digest(), index)
        for index, row in enumerate(rows)
    )
    chosen = {index for _, index in heapq.nsmallest(size, digests)}
    return [row for index, row in enumerate(rows) if index in chosen]
