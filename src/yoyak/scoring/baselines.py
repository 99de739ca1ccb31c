"""Extractive baselines and their oracle: summaries that consist of turns of the dialogue.

Turns keep their speaker labels. References refer to speakers by the same masks, so the labels make the baselines as
strong as they can be without a model: on the dev set of DialogSum they add 0.02 to 0.03 to each combined score, on
handwritten Korean 0.01 to 0.02 by morphemes (by eojeols, where a label does not match a word of a summary, they cost
up to 0.004). Turns are joined by line breaks, in the dialogue's order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from tqdm import tqdm

from yoyak.scoring.rouge import Protocol, f1
from yoyak.scoring.tokenize import tokenizer

ORACLE_TURNS = 3

TurnIndices = tuple[int, ...]
"""Ascending."""


def split_turns(dialogue: str) -> list[str]:
    """Return the turns of a dialogue, without empty lines."""
    return [line.strip() for line in dialogue.split("\n") if line.strip()]


def _pick_longest(lines: Sequence[str], count: int) -> TurnIndices:
    order = sorted(range(len(lines)), key=lambda index: (-len(lines[index]), index))
    return tuple(sorted(order[:count]))


BASELINES: dict[str, Callable[[Sequence[str]], TurnIndices]] = {
    "first": lambda lines: tuple(range(len(lines)))[:1],
    "last": lambda lines: tuple(range(len(lines)))[-1:],
    "longest": lambda lines: _pick_longest(lines, 1),
    "longest3": lambda lines: _pick_longest(lines, 3),
    "lead3": lambda lines: tuple(range(len(lines)))[:3],
}
"""By name: a function that returns the indices of the extracted turns."""


def extract_baseline(name: str, dialogue: str) -> str:
    """Return the summary of one of `BASELINES`; an empty dialogue gives an empty one."""
    lines = split_turns(dialogue)
    return _join(lines, BASELINES[name](lines))


def extract_oracle(
    dialogues: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    granularity: str,
    multi_reference: Protocol,
    weights: Sequence[float],
) -> list[str]:
    """Return, for each dialogue, the turns that score best against its references: an upper bound for extraction.

    Turns are added greedily, up to three, as long as the combined score grows (Nallapati et al. 2017). If one of
    `BASELINES` scores better, it is used instead, so that no baseline beats the oracle at the given granularity and
    protocol.
    """
    line_tokenizer = tokenizer(granularity)
    lines = [split_turns(dialogue) for dialogue in dialogues]
    line_tokenizer.tokenize_all([text for rows in (*lines, *references) for text in rows])
    reference_tokens = [line_tokenizer.tokenize_all(row) for row in references]
    reduce = np.max if multi_reference == "max" else np.mean

    def extract(turns: list[str], targets: list[list[str]]) -> str:
        tokens = line_tokenizer.tokenize_all(turns)

        @cache
        def score(indices: TurnIndices) -> float:
            joined = [token for index in indices for token in tokens[index]]
            return float(reduce([np.dot(weights, f1(joined, target)[: len(weights)]) for target in targets]))

        greedy = _search_greedily(len(turns), score)
        return _join(turns, max([greedy, *(pick(turns) for pick in BASELINES.values())], key=score))

    pairs = zip(lines, reference_tokens, strict=True)
    progress = tqdm(pairs, "oracle", len(lines), unit="dialogue", delay=3, leave=False)
    return [extract(turns, targets) for turns, targets in progress]


def _search_greedily(count: int, score: Callable[[TurnIndices], float]) -> TurnIndices:
    chosen: TurnIndices = ()
    best_score = 0.0
    while len(chosen) < min(ORACLE_TURNS, count):
        options = [tuple(sorted((*chosen, index))) for index in range(count) if index not in chosen]
        scores = [score(option) for option in options]
        best = int(np.argmax(scores))
        if scores[best] <= best_score:
            break
        chosen, best_score = options[best], scores[best]
    return chosen


def _join(lines: Sequence[str], indices: TurnIndices) -> str:
    return "\n".join(lines[index] for index in indices)
