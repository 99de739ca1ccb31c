"""Dialogues that do not fit into a model's window: which turns are kept, and how they are divided into parts.

    keep_turns(sizes, room=300, keep="both")            # indices of turns
    divide_turns(sizes, room=300, overlap=2)            # ranges of turns

Sizes are numbers of tokens of each turn, with its line break.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate

GROWTH = 1.05
"""By how much the limit of a part grows until there are as few parts as possible."""


def keep_turns(sizes: Sequence[int], room: float, keep: str) -> list[int]:
    """Return which turns are read: as many as fit into ``room`` from the ``head``, the ``tail`` or ``both`` ends.

    From both ends each gets half of the room, and the end what the beginning leaves of its half. There is none if not
    even the first one fits.
    """
    head: list[int] = []
    if keep != "tail":
        limit = room if keep == "head" else room / 2
        head = [index for index, total in enumerate(accumulate(sizes)) if total <= limit]
    if keep == "head":
        return head
    left = room - sum(sizes[index] for index in head)
    tail = []
    for index in range(len(sizes) - 1, len(head) - 1, -1):
        left -= sizes[index]
        if left < 0:
            break
        tail.append(index)
    return [*head, *reversed(tail)]


def divide_turns(sizes: Sequence[int], room: int, overlap: int) -> list[range]:
    """Return as few parts as possible, each of consecutive turns that fit into ``room``, and of similar sizes.

    Each but the first begins with the last ``overlap`` turns of the one before, or with fewer where they would leave no
    room for others. A turn that is longer than the room is a part by itself.
    """
    parts = _fill(sizes, room, overlap)
    limit = math.ceil(sum(sizes) / len(parts)) if parts else room
    while limit < room:
        even = _fill(sizes, limit, overlap)
        if len(even) <= len(parts) and all(_size(sizes, part) <= room for part in even):
            return even
        limit = math.ceil(limit * GROWTH)
    return parts


def _fill(sizes: Sequence[int], limit: int, overlap: int) -> list[range]:
    parts: list[range] = []
    start = end = 0
    while end < len(sizes):
        first = end
        total = sum(sizes[start:end])
        while end < len(sizes) and total + sizes[end] <= limit:
            total += sizes[end]
            end += 1
        if end == first:
            if start < first:
                # What overlaps leaves no room: begin later.
                start += 1
                continue
            end += 1
        parts.append(range(start, end))
        start = max(end - overlap, first)
    return parts


def _size(sizes: Sequence[int], part: range) -> int:
    return sum(sizes[index] for index in part)
