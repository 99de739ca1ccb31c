"""Hard voting on tokens: each member has written a whole summary by itself, and every slot goes to the majority.

`aligned` finds the slots by progressive alignment, as ROVER does for speech recognizers (Fiscus 1997, "A
post-processing system to yield reduced word error rates"): texts are added one by one to a network of slots, at the
least cost of insertions, deletions and substitutions; not to be there is a choice in a slot as any word is.
`positional` takes the first units of all texts for the first slot, the second for the second, and so on. It is right
only for texts of the same length, and here to reproduce results that were made so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from yoyak.ensemble.pool import Outcome, Row
from yoyak.ensemble.units import Unit, join, split

GAP = 3
SUBSTITUTION = 4
"""Costs of NIST's sclite, which ROVER aligns with."""

Slot = list[Unit | None]
"""The unit of each text in one slot; None where the text has none."""


def vote(rows: Sequence[Row], weights: Mapping[str, float], granularity: str, *, positional: bool) -> list[Outcome]:
    """Return the voted summary of each row, from the best candidate of each member.

    Ties go to the heavier member, then to the one that comes first. The score is the mean share of the votes that
    the winners got.
    """
    order = sorted(weights, key=lambda member: -weights[member])
    texts = [[row.best(member) for member in order] for row in rows]
    units = iter(split([text for row in texts for text in row], granularity))
    shares = [weights[member] for member in order]
    return [decide([next(units) for _ in order], shares, row, positional=positional) for row in texts]


def decide(
    units: Sequence[Sequence[Unit]], shares: Sequence[float], texts: Sequence[str], *, positional: bool
) -> Outcome:
    """Return what the texts of one dialogue are voted to be, given their units and the share of each in the votes."""
    # A member that wrote nothing has nothing to vote for, unless all of them did.
    written = [place for place, found in enumerate(units) if found]
    units, shares = [units[place] for place in written], [shares[place] for place in written]
    if not any(shares):
        shares = [1.0] * len(units)
    if not units:
        return Outcome(text="", score=0.0)
    if all(found == units[0] for found in units):
        return Outcome(text=texts[written[0]], score=1.0)
    slots = [list(slot) for slot in zip_longest(*units)] if positional else align(units)
    chosen, won = [], 0.0
    for slot in slots:
        unit, share = majority(slot, shares)
        won += share
        if unit is not None:
            chosen.append(unit)
    return Outcome(text=join(chosen), score=won / len(slots))


def majority(slot: Slot, shares: Sequence[float]) -> tuple[Unit | None, float]:
    """Return the winner of a slot and its share of the votes, 0 to 1."""
    votes: dict[str | None, float] = {}
    for unit, share in zip(slot, shares, strict=True):
        key = unit.key if unit else None
        votes[key] = votes.get(key, 0.0) + share
    # Sums of the same weights in another order differ in the last bit: that is no majority.
    winner = max(votes, key=lambda key: round(votes[key], 9))
    # The winner is written as the first text has it that voted for it.
    return next(unit for unit in slot if (unit.key if unit else None) == winner), votes[winner] / sum(shares)


def align(texts: Sequence[Sequence[Unit]]) -> list[Slot]:
    """Return the slots of a progressive alignment; every text's units are in them once and in order."""
    slots: list[Slot] = [[unit] for unit in texts[0]]
    for count, text in enumerate(texts[1:], 1):
        slots = _add(slots, text, count)
    return slots


def _add(slots: list[Slot], text: Sequence[Unit], count: int) -> list[Slot]:
    """Return the slots with one more text aligned to them; ``count`` texts are in them already."""
    keys = [{unit.key if unit else None for unit in slot} for slot in slots]
    # What both begin and end with needs no table, unless a slot there costs nothing to leave empty.
    head = 0
    while head < min(len(slots), len(text)) and text[head].key in keys[head] and None not in keys[head]:
        head += 1
    tail = 0
    while (
        tail < min(len(slots), len(text)) - head
        and text[-1 - tail].key in keys[-1 - tail]
        and None not in keys[-1 - tail]
    ):
        tail += 1
    middle = slice(head, len(slots) - tail)
    pairs = _path(keys[middle], [unit.key for unit in text[head : len(text) - tail]])
    pairs = [(place, place) for place in range(head)] + [
        (None if slot is None else slot + head, None if place is None else place + head) for slot, place in pairs
    ]
    pairs += [(len(slots) - place, len(text) - place) for place in range(tail, 0, -1)]
    empty: Slot = [None] * count
    return [
        [*(empty if slot is None else slots[slot]), None if place is None else text[place]] for slot, place in pairs
    ]


def _path(slots: Sequence[set[str | None]], text: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Return the cheapest alignment as pairs of slot and place, one of them None for a gap."""
    skips = [0 if None in keys else GAP for keys in slots]
    row = [0]
    for skip in skips:
        row.append(row[-1] + skip)
    table = [row]
    for key in text:
        before, left = row, row[0] + GAP
        row = [left]
        for place, keys in enumerate(slots):
            best = before[place] if key in keys else before[place] + SUBSTITUTION
            other = before[place + 1] + GAP
            if other < best:
                best = other
            left += skips[place]
            if left > best:
                left = best
            row.append(left)
        table.append(row)
    pairs: list[tuple[int | None, int | None]] = []
    line, column = len(text), len(slots)
    while line or column:
        here = table[line][column]
        if line and column:
            match = 0 if text[line - 1] in slots[column - 1] else SUBSTITUTION
            if here == table[line - 1][column - 1] + match:
                line, column = line - 1, column - 1
                pairs.append((column, line))
                continue
        if column and here == table[line][column - 1] + skips[column - 1]:
            column -= 1
            pairs.append((column, None))
        else:
            line -= 1
            pairs.append((None, line))
    pairs.reverse()
    return pairs
