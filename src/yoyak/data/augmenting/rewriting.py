"""Turns that a model has put into other words, where they still say the same."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from rapidfuzz.distance import Indel

from yoyak.data.augmenting.edits import Source, draw
from yoyak.data.augmenting.turns import join_turns
from yoyak.data.records import Dialogue
from yoyak.korean.facts import find_facts
from yoyak.params.augmentation import Rewriting

NOT_KEPT = "no rewritten turn was kept"
MIN_CHARS = 5
"""Shorter turns are not rewritten."""


def draw_turns(source: Source, rate: float, rng: random.Random) -> list[int]:
    """Return the indices of the turns to rewrite."""
    return sorted(draw([i for i, (_, words) in enumerate(source.turns) if len(words) >= MIN_CHARS], rate, rng))


def put_together(
    source: Source,
    indices: list[int],
    rewritten: Mapping[str, str | None],
    settings: Rewriting,
    reasons: Counter[str],
) -> Dialogue | str:
    """Return the row with those rewritten turns that are acceptable; ``reasons`` counts why others are left out.

    Args:
        rewritten: By the words of a turn; None if a turn was too long for the models.
    """
    turns = list(source.turns)
    for index in indices:
        label, words = turns[index]
        text = rewritten[words]
        reason = "too long for the model" if text is None else check_turn(words, text, settings)
        if reason:
            reasons[reason] += 1
        elif text is not None:
            turns[index] = label, " ".join(text.split())
    return NOT_KEPT if turns == source.turns else replace(source.row, dialogue=join_turns(turns))


def check_turn(words: str, text: str, settings: Rewriting) -> str:
    """Return why a rewritten turn is not acceptable; empty if it is."""
    similarity = Indel.normalized_similarity(words, text)
    if not text.strip():
        return "empty"
    if similarity > settings.max_similarity:
        return "too similar"
    if similarity < settings.min_similarity:
        return "too different"
    before, after = find_facts([words, text])
    squeezed = "".join(text.split()).casefold()
    if (
        before.masks != after.masks
        or before.content[1] != after.content[1]
        or any("".join(name.split()).casefold() not in squeezed for name in before.names)
    ):
        return "other masks, numbers or names"
    return ""
