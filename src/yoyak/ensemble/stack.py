"""A reranker: it learns on dev, from what is known of a candidate without its reference, how well it will score.

Features are the member's own score and rank, lengths, agreement with the other candidates, and what of the dialogue's
words, names, numbers and masks is kept or made up. The target is the candidate's combined ROUGE less the mean of its
dialogue: which of them is best matters, not how hard the dialogue is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yoyak.ensemble.mbr import DIGITS
from yoyak.ensemble.pool import CACHE_LINES, Outcome, Row
from yoyak.ensemble.utility import rouge_matrix
from yoyak.errors import UserError
from yoyak.korean.masks import MASK
from yoyak.scoring.tokenize import tokenizer

_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*|[일이삼사오육칠팔구십백천만]+(?=[시분명개원월일층번])")
_NAME = re.compile(r"[가-힣]{2,4}(?=\s?(?:씨|님|선생|과장|부장|대리|팀장|고객|환자))|\b[A-Z][a-z]+\b")

FEATURES = (
    "score", "score_in_member", "rank", "first", "changed_input",
    "tokens", "tokens_to_mean", "share_of_dialogue",
    "agreement", "agreement_of_firsts", "copies",
    "words_from_dialogue", "masks_kept", "masks_made_up", "numbers_from_dialogue", "numbers_kept", "names_kept",
    "repeated",
)  # fmt: skip
"""What a candidate is described by; behind them one column for each member."""
SHARES = (0.33, 0.33, 0.34)
"""ROUGE-1, -2 and -L in agreement, and in the score that weights and rerankers are fitted to."""
ALPHAS = np.logspace(-2, 4, 13)
"""Strengths of regularisation that are tried."""


class Described(NamedTuple):
    """The candidates of some rows, described."""

    origins: list[tuple[int, str, int]]
    """Row, member and rank of each candidate."""
    values: np.ndarray
    """[candidates, features]"""


def describe(rows: Sequence[Row], members: Sequence[str], granularity: str) -> Described:
    """Return the features of every candidate; of one row, they depend on that row alone."""
    units = tokenizer(granularity, CACHE_LINES)
    units.tokenize_all([candidate.text for row in rows for found in row.candidates.values() for candidate in found])
    origins: list[tuple[int, str, int]] = []
    values: list[list[float]] = []
    for place, row in enumerate(rows):
        dialogue = units.tokenize(row.dialogue)
        known, facts = set(dialogue), _facts(row.dialogue)
        pool = [(member, rank) for member in members for rank in range(len(row.candidates[member]))]
        found = [row.candidates[member][rank] for member, rank in pool]
        tokens = [units.tokenize(candidate.text) for candidate in found]
        likeness = rouge_matrix(tokens, SHARES)
        others = (likeness.sum(1) - np.diag(likeness)) / max(1, len(pool) - 1)
        firsts = [column for column, (_, rank) in enumerate(pool) if rank == 0]
        mean = float(np.mean([len(text) for text in tokens])) or 1.0
        for number, (member, rank) in enumerate(pool):
            candidate, text = found[number], tokens[number]
            scores = [other.score for other in row.candidates[member]]
            others_first = [column for column in firsts if pool[column][0] != member]
            values.append([
                candidate.score,
                (candidate.score - float(np.mean(scores))) / (float(np.std(scores)) or 1.0),
                rank, float(rank == 0), float(candidate.view > 0),
                len(text), len(text) / mean, len(text) / max(1, len(dialogue)),
                others[number],
                float(likeness[number, others_first].mean()) if others_first else 0.0,
                sum(other.text == candidate.text for other in found) - 1,
                sum(token in known for token in text) / max(1, len(text)),
                *_kept(candidate.text, facts),
                1 - len(set(text)) / max(1, len(text)),
                *(float(member == name) for name in members),
            ])  # fmt: skip
            origins.append((place, member, rank))
    return Described(origins, np.array(values, float).reshape(len(values), len(FEATURES) + len(members)))


def _facts(dialogue: str) -> tuple[set[str], set[str], set[str]]:
    # The number and the name in a mask are neither.
    said = MASK.sub(" ", dialogue)
    return set(MASK.findall(dialogue)), set(_NUMBER.findall(said)), set(_NAME.findall(said))


def _kept(text: str, facts: tuple[set[str], set[str], set[str]]) -> tuple[float, ...]:
    masks, numbers, names = facts
    own_masks, own_numbers = set(MASK.findall(text)), set(_NUMBER.findall(MASK.sub(" ", text)))
    return (
        len(own_masks & masks) / max(1, len(masks)),
        float(len(own_masks - masks)),
        len(own_numbers & numbers) / len(own_numbers) if own_numbers else 1.0,
        len(own_numbers & numbers) / max(1, len(numbers)),
        sum(name in text for name in names) / max(1, len(names)),
    )


class Reranker(NamedTuple):
    """A linear model over features: the coefficient of each one, on the features' own scale."""

    intercept: float
    coefficients: tuple[float, ...]

    def foresee(self, values: np.ndarray) -> np.ndarray:
        """Return [candidates]: the score that is foreseen, less the mean of the dialogue."""
        return values @ np.array(self.coefficients) + self.intercept


def fit(described: Described, scores: np.ndarray) -> Reranker:
    """Return a ridge regression fitted to the combined ROUGE [candidates] of what is described.

    Its strength is chosen by scikit-learn's leave-one-out error. What is kept of it are plain numbers.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    groups = np.array([row for row, _, _ in described.origins])
    means = np.bincount(groups, scores) / np.maximum(1, np.bincount(groups))
    scaler = StandardScaler().fit(described.values)
    model = RidgeCV(alphas=ALPHAS).fit(scaler.transform(described.values), scores - means[groups])
    coefficients = model.coef_ / scaler.scale_
    return Reranker(float(model.intercept_ - coefficients @ scaler.mean_), tuple(coefficients.tolist()))


def part(described: Described, rows: Sequence[int]) -> tuple[Described, np.ndarray]:
    """Return the candidates of some rows, numbered anew in their order, and where they are among all."""
    numbers = {row: number for number, row in enumerate(rows)}
    places = np.array([place for place, (row, _, _) in enumerate(described.origins) if row in numbers])
    origins = [(numbers[row], member, rank) for row, member, rank in (described.origins[p] for p in places)]
    return Described(origins, described.values[places]), places


def fold_of(groups: Sequence[str], folds: int) -> np.ndarray:
    """Return the fold of each row; rows of the same group share one."""
    from sklearn.model_selection import GroupKFold

    count = min(folds, len(set(groups)))
    if count < 2:
        raise UserError("strategies that are fitted on dev need at least two different dialogues there.")
    found = np.zeros(len(groups), int)
    for number, (_, places) in enumerate(GroupKFold(count).split(groups, groups=groups)):
        found[places] = number
    return found


def choose(rows: Sequence[Row], described: Described, model: Reranker) -> list[Outcome]:
    """Return of each row the candidate that is foreseen to score best; ties go to the first."""
    foreseen = np.round(model.foresee(described.values), DIGITS)
    best: dict[int, int] = {}
    for number, (place, _, _) in enumerate(described.origins):
        if place not in best or foreseen[number] > foreseen[best[place]]:
            best[place] = number
    outcomes = []
    for place, row in enumerate(rows):
        _, member, rank = described.origins[best[place]]
        text = row.candidates[member][rank].text
        outcomes.append(Outcome(text=text, score=float(foreseen[best[place]]), member=member, rank=rank))
    return outcomes
