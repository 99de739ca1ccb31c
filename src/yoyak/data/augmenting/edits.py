"""What all methods share: drawing places, and the texts of a row that a change must leave as they are."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from yoyak.data.augmenting.turns import is_korean, join_turns, split_turns, stems
from yoyak.data.records import Dialogue
from yoyak.korean.facts import Facts, find_facts
from yoyak.korean.kiwi import analyse

Place = TypeVar("Place")
NOTHING_TO_CHANGE = "nothing to change"


@dataclass(frozen=True)
class Source:
    """A row to change, with what is known of its texts, which is found out once for all methods."""

    row: Dialogue

    @cached_property
    def turns(self) -> list[tuple[str, str]]:
        """Label and words of each turn."""
        return split_turns(self.row.dialogue)

    @cached_property
    def turn_facts(self) -> list[Facts]:
        """The facts in the words of each turn."""
        return find_facts([words for _, words in self.turns])

    @cached_property
    def summary_facts(self) -> list[Facts]:
        """The facts of each summary."""
        return find_facts(self.row.summaries)

    @cached_property
    def literals(self) -> tuple[str, ...]:
        """How the numbers and names of the dialogue and its summaries are written."""
        found = [*self.turn_facts, *self.summary_facts]
        texts = {text for facts in found for text in (*(number.text for number in facts.numbers), *facts.names)}
        return tuple(sorted(text for text in texts if text.strip()))

    @cached_property
    def tokens(self) -> list[list[Any]]:
        """Kiwi's tokens of the words of each turn; none where there is no Hangul."""
        analysed = analyse([words for _, words in self.turns if is_korean(words)])
        return [next(analysed) if is_korean(words) else [] for _, words in self.turns]

    @cached_property
    def anchors(self) -> tuple[str, ...]:
        """Texts of the dialogue by which every fact of the summaries can be found in it."""
        stated = {text for facts in self.summary_facts for text in (*facts.masks, *facts.names)}
        numbers = {number.text for facts in (*self.summary_facts, *self.turn_facts) for number in facts.numbers}
        return tuple(text for text in stated | numbers if text in self.row.dialogue)

    @cached_property
    def summary_stems(self) -> frozenset[str]:
        """How the words of the summaries begin."""
        return stems(self.row.summaries)


def draw(places: Sequence[Place], rate: float, rng: random.Random) -> list[Place]:
    """Return each place with the probability ``rate``, but at least one of them if there is any."""
    drawn = [place for place in places if rng.random() < rate]
    return drawn or ([rng.choice(places)] if places else [])


def edit_places(
    source: Source,
    find: Callable[[str, Source], list[tuple[int, int, str]]],
    rate: float,
    rng: random.Random,
) -> Dialogue | str:
    """Return the row with some of the replacements that ``find`` proposes for the words of each turn.

    Args:
        find: Returns start, end and new text of each possible replacement; those of one turn must not overlap.
    """
    places = [(index, *place) for index, (_, words) in enumerate(source.turns) for place in find(words, source)]
    return apply_some(source, places, rate, rng)


def apply_some(
    source: Source, places: Sequence[tuple[int, int, int, str]], rate: float, rng: random.Random
) -> Dialogue | str:
    """Return the row with some of the replacements: index of the turn, start, end and new text of each."""
    turns = list(source.turns)
    for index, start, end, text in sorted(draw(places, rate, rng), reverse=True):
        label, words = turns[index]
        turns[index] = label, words[:start] + text + words[end:]
    dialogue = join_turns(turns)
    return NOTHING_TO_CHANGE if dialogue == source.row.dialogue else replace(source.row, dialogue=dialogue)
