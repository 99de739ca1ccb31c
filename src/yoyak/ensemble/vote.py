"""Hard voting on tokens: each member generates a summary independently, and the majority wins each slot.

By default the slots come from progressive alignment, as in ROVER for speech recognition (Fiscus 1997, "A
post-processing system to yield reduced word error rates"): texts are added one by one to a network of slots at the
lowest cost of insertions, deletions and substitutions; an empty slot is a choice like any word. ``positional`` puts
the first units of all texts into the first slot, the second into the second, and so on. It is meaningful only for
texts of equal length, and exists to reproduce results obtained that way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from yoyak.ensemble.pool import Outcome, Row
from yoyak.ensemble.units import Unit, join, split

GAP = 3
SUBSTITUTION = 4
"""Costs of NIST's sclite, which ROVER uses for alignment."""

Slot = list[Unit | None]
"""One unit per text; None if a text has none in this slot."""


def vote(rows: Sequence[Row], weights: Mapping[str, float], granularity: str, *, positional: bool) -> list[Outcome]:
    """Return the vote of the members' best candidates for each row.

    Ties go to the member with the larger weight, then to the first. The score is the winners' mean share of the votes.
    """
    order = sorted(weights, key=lambda member: -weights[member])
    texts = [[row.best(member) for member in order] for row in rows]
    units = iter(split([text for row in texts for text in row], granularity))
    shares = [weights[member] for member in order]
    return [decide([next(units) for _ in order], shares, row, positional=positional) for row in texts]


def decide(
    units: Sequence[Sequence[Unit]], shares: Sequence[float], texts: Sequence[str], *, positional: bool
) -> Outcome:
    """Return the outcome of the vote on one dialogue, given each text's units and its share of the votes."""
    # A member with an empty summary does not vote, unless all are empty.
    written = [index for index, text_units in enumerate(units) if text_units]
    units, shares = [units[index] for index in written], [shares[index] for index in written]
    if not any(shares):
        shares = [1.0] * len(units)
    if not units:
        return Outcome(text="", score=0.0)
    if all(text_units == units[0] for text_units in units):
        return Outcome(text=texts[written[0]], score=1.0)
    slots = [list(slot) for slot in zip_longest(*units)] if positional else align(units)
    winners, won = [], 0.0
    for slot in slots:
        unit, share = majority(slot, shares)
        won += share
        if unit is not None:
            winners.append(unit)
    return Outcome(text=join(winners), score=won / len(slots))


def majority(slot: Slot, shares: Sequence[float]) -> tuple[Unit | None, float]:
    """Return the winner of a slot and its share of the votes, 0 to 1."""
    votes: dict[str | None, float] = {}
    for unit, share in zip(slot, shares, strict=True):
        key = unit.key if unit else None
        votes[key] = votes.get(key, 0.0) + share
    # Rounded, because sums of the same weights in a different order differ in the last bit.
    winner = max(votes, key=lambda key: round(votes[key], 9))
    # The winner is spelled as in the first text that voted for it.
    return next(unit for unit in slot if (unit.key if unit else None) == winner), votes[winner] / sum(shares)


def align(texts: Sequence[Sequence[Unit]]) -> list[Slot]:
    """Return the slots of a progressive alignment; they hold every unit of each text once and in order."""
    slots: list[Slot] = [[unit] for unit in texts[0]]
    for count, text in enumerate(texts[1:], 1):
        slots = _add_text(slots, text, count)
    return slots


def _add_text(slots: list[Slot], text: Sequence[Unit], count: int) -> list[Slot]:
    """Return the slots with one more text aligned to them; they already hold ``count`` texts."""
    keys = [{unit.key if unit else None for unit in slot} for slot in slots]
    # A common prefix and suffix need no table, unless they contain a slot that can be skipped at no cost.
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
    pairs = _cheapest_path(keys[middle], [unit.key for unit in text[head : len(text) - tail]])
    pairs = [(index, index) for index in range(head)] + [
        (None if slot is None else slot + head, None if unit is None else unit + head) for slot, unit in pairs
    ]
    pairs += [(len(slots) - index, len(text) - index) for index in range(tail, 0, -1)]
    empty: Slot = [None] * count
    return [[*(empty if slot is None else slots[slot]), None if unit is None else text[unit]] for slot, unit in pairs]


def _cheapest_path(slots: Sequence[set[str | None]], text: Sequence[str]) -> list[tuple[int | None, int | None]]:
    """Return the cheapest alignment as pairs of slot index and unit index, one of them None for a gap."""
    skips = [0 if None in keys else GAP for keys in slots]
    row = [0]
    for skip in skips:
        row.append(row[-1] + skip)
    table = [row]
    for key in text:
        above, left = row, row[0] + GAP
        row = [left]
        for column, keys in enumerate(slots):
            best = above[column] if key in keys else above[column] + SUBSTITUTION
            other = above[column + 1] + GAP
            if other < best:
                best = other
            left += skips[column]
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
