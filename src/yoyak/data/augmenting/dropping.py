"""Turns left out that have no part in the summary."""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import replace

from yoyak.data.augmenting.edits import NOTHING_TO_CHANGE, Source, draw
from yoyak.data.augmenting.turns import join_turns, stems
from yoyak.data.records import Dialogue

_QUESTION = re.compile(r"[?？]\W*$")
KEPT_SHARE = 0.5
"""At least so many of the turns stay."""


def drop_turns(source: Source, rate: float, rng: random.Random) -> Dialogue | str:
    """Leave out turns that share neither a fact nor the beginning of a word with a summary.

    Each speaker keeps a turn; questions and what follows them stay.
    """
    drawn = draw(_find_unused(source), rate, rng)
    left = Counter(label for label, _ in source.turns)
    dropped: set[int] = set()
    for index in drawn:
        label = source.turns[index][0]
        if left[label] > 1 and len(dropped) + 1 <= len(source.turns) * (1 - KEPT_SHARE):
            left[label] -= 1
            dropped.add(index)
    if not dropped:
        return NOTHING_TO_CHANGE
    kept = (turn for index, turn in enumerate(source.turns) if index not in dropped)
    return replace(source.row, dialogue=join_turns(kept))


def _find_unused(source: Source) -> list[int]:
    """Return the indices of turns of which no summary has anything, and that are neither a question nor its answer."""
    asks = [_QUESTION.search(words) is not None for _, words in source.turns]
    return [
        index
        for index, (_, words) in enumerate(source.turns)
        if not asks[index]
        and not (index and asks[index - 1])
        and not stems([words]) & source.summary_stems
        and not _states_a_fact(source, index)
    ]


def _states_a_fact(source: Source, index: int) -> bool:
    own = source.turn_facts[index]
    return any(
        own.masks & stated.masks
        or own.names & stated.names
        or any(number.matches(other) for number in own.numbers for other in stated.numbers)
        for stated in source.summary_facts
    )
