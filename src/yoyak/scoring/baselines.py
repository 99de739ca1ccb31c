"""Extractive baselines: what a summary made of turns of the dialogue scores, at least and at most.

A turn is kept with its speaker's label. References name the speakers by the same masks, so the label helps: without
it the baselines would look worse than a person could make them with no model at all. On the dev set of DialogSum it
adds 0.02 to 0.03 to the combined score of each, on handwritten Korean 0.01 to 0.02 by morphemes (by eojeols, where
a label is no word of a summary, it takes up to 0.004). Turns are joined by line breaks, in the dialogue's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from tqdm import tqdm

from yoyak.scoring.rouge import Protocol, f1
from yoyak.scoring.tokenize import tokenizer

ORACLE_TURNS = 3

Choice = tuple[int, ...]


def turns(dialogue: str) -> list[str]:
    """Return the turns of a dialogue, without the lines that are empty."""
    return [line.strip() for line in dialogue.split("\n") if line.strip()]


def _longest(lines: Sequence[str], count: int) -> Choice:
    order = sorted(range(len(lines)), key=lambda place: (-len(lines[place]), place))
    return tuple(sorted(order[:count]))


BASELINES: dict[str, Callable[[Sequence[str]], Choice]] = {
    "first": lambda lines: tuple(range(len(lines)))[:1],
    "last": lambda lines: tuple(range(len(lines)))[-1:],
    "longest": lambda lines: _longest(lines, 1),
    "longest3": lambda lines: _longest(lines, 3),
    "lead3": lambda lines: tuple(range(len(lines)))[:3],
}
"""By name: the places of the turns that a baseline takes, ascending."""


def baseline(name: str, dialogue: str) -> str:
    """Return the summary of one of `BASELINES`; an empty dialogue gives an empty one."""
    lines = turns(dialogue)
    return _text(lines, BASELINES[name](lines))


def oracle(
    dialogues: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    granularity: str,
    multi_reference: Protocol,
    weights: Sequence[float],
) -> list[str]:
    """Return, for each dialogue, the turns that score best against its references: a ceiling for extraction.

    Turns are added greedily, up to three, as long as the combined score grows (Nallapati et al. 2017). Where one of
    `BASELINES` is better than what that finds, it is taken, so that no baseline is above the ceiling. That holds at
    the granularity and protocol that are given, not at others.
    """
    units = tokenizer(granularity)
    lines = [turns(dialogue) for dialogue in dialogues]
    units.tokenize_all([text for rows in (*lines, *references) for text in rows])
    targets = [units.tokenize_all(row) for row in references]
    pick = np.max if multi_reference == "max" else np.mean

    def best(rows: list[str], wanted: list[list[str]]) -> str:
        tokens = units.tokenize_all(rows)

        @cache
        def score(choice: Choice) -> float:
            joined = [token for place in choice for token in tokens[place]]
            return float(pick([np.dot(weights, f1(joined, target)) for target in wanted]))

        found = _greedy(len(rows), score)
        return _text(rows, max([found, *(choose(rows) for choose in BASELINES.values())], key=score))

    progress = tqdm(zip(lines, targets, strict=True), "oracle", len(lines), unit="dialogue", delay=3, leave=False)
    return [best(rows, wanted) for rows, wanted in progress]


def _greedy(count: int, score: Callable[[Choice], float]) -> Choice:
    chosen: Choice = ()
    reached = 0.0
    while len(chosen) < min(ORACLE_TURNS, count):
        options = [tuple(sorted((*chosen, place))) for place in range(count) if place not in chosen]
        scores = [score(option) for option in options]
        top = int(np.argmax(scores))
        if scores[top] <= reached:
            break
        chosen, reached = options[top], scores[top]
    return chosen


def _text(lines: Sequence[str], choice: Choice) -> str:
    return "\n".join(lines[place] for place in choice)
