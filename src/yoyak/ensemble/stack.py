"""A reranker that learns on dev to predict a candidate's score from features that need no reference.

Features are the member's score and rank, lengths, agreement with the other candidates, and which of the dialogue's
words, names, numbers and masks are kept or hallucinated. The target is the candidate's combined ROUGE minus the mean
of its dialogue, because what matters is which candidate is best, not how hard the dialogue is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from yoyak.ensemble.mbr import DIGITS
from yoyak.ensemble.pool import CACHE_LINES, Outcome, Row
from yoyak.ensemble.utility import rouge_matrix
from yoyak.korean.masks import MASK
from yoyak.params.base import ROUGE_WEIGHTS
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
"""Features of a candidate, followed by one indicator column per member."""
ALPHAS = np.logspace(-2, 4, 13)
"""Regularization strengths to try."""


class Described(NamedTuple):
    """The candidates of some rows and their features."""

    origins: list[tuple[int, str, int]]
    """Row index, member and rank of each candidate."""
    values: np.ndarray
    """[candidates, features]"""


def describe(rows: Sequence[Row], members: Sequence[str], granularity: str) -> Described:
    """Return the features of every candidate; they depend only on the candidate's row."""
    units = tokenizer(granularity, CACHE_LINES)
    units.tokenize_all([candidate.text for row in rows for nbest in row.candidates.values() for candidate in nbest])
    origins: list[tuple[int, str, int]] = []
    values: list[list[float]] = []
    for row_index, row in enumerate(rows):
        dialogue = units.tokenize(row.dialogue)
        dialogue_tokens, facts = set(dialogue), _extract_facts(row.dialogue)
        pool = [(member, rank) for member in members for rank in range(len(row.candidates[member]))]
        candidates = [row.candidates[member][rank] for member, rank in pool]
        tokens = [units.tokenize(candidate.text) for candidate in candidates]
        similarity = rouge_matrix(tokens, ROUGE_WEIGHTS)
        agreement = (similarity.sum(1) - np.diag(similarity)) / max(1, len(pool) - 1)
        firsts = [column for column, (_, rank) in enumerate(pool) if rank == 0]
        mean = float(np.mean([len(text) for text in tokens])) or 1.0
        for number, (member, rank) in enumerate(pool):
            candidate, text = candidates[number], tokens[number]
            scores = [other.score for other in row.candidates[member]]
            others_first = [column for column in firsts if pool[column][0] != member]
            values.append([
                candidate.score,
                (candidate.score - float(np.mean(scores))) / (float(np.std(scores)) or 1.0),
                rank, float(rank == 0), float(candidate.view > 0),
                len(text), len(text) / mean, len(text) / max(1, len(dialogue)),
                agreement[number],
                float(similarity[number, others_first].mean()) if others_first else 0.0,
                sum(other.text == candidate.text for other in candidates) - 1,
                sum(token in dialogue_tokens for token in text) / max(1, len(text)),
                *_compare_facts(candidate.text, facts),
                1 - len(set(text)) / max(1, len(text)),
                *(float(member == name) for name in members),
            ])  # fmt: skip
            origins.append((row_index, member, rank))
    return Described(origins, np.array(values, float).reshape(len(values), len(FEATURES) + len(members)))


def _extract_facts(dialogue: str) -> tuple[set[str], set[str], set[str]]:
    """Return the masks, numbers and names of a dialogue."""
    # The contents of masks count as neither numbers nor names.
    unmasked = MASK.sub(" ", dialogue)
    return set(MASK.findall(dialogue)), set(_NUMBER.findall(unmasked)), set(_NAME.findall(unmasked))


def _compare_facts(text: str, facts: tuple[set[str], set[str], set[str]]) -> tuple[float, ...]:
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
    """A linear model over unscaled features."""

    intercept: float
    coefficients: tuple[float, ...]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return [candidates]: the predicted score relative to the mean of the dialogue."""
        return values @ np.array(self.coefficients) + self.intercept


def fit(described: Described, scores: np.ndarray) -> Reranker:
    """Return a ridge regression fitted to the candidates' combined ROUGE, ``scores`` [candidates].

    The regularization strength is chosen by leave-one-out error. Only the coefficients are kept, as plain numbers.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    groups = np.array([row for row, _, _ in described.origins])
    means = np.bincount(groups, scores) / np.maximum(1, np.bincount(groups))
    scaler = StandardScaler().fit(described.values)
    model = RidgeCV(alphas=ALPHAS).fit(scaler.transform(described.values), scores - means[groups])
    coefficients = model.coef_ / scaler.scale_
    return Reranker(float(model.intercept_ - coefficients @ scaler.mean_), tuple(coefficients.tolist()))


def select_rows(described: Described, rows: Sequence[int]) -> tuple[Described, np.ndarray]:
    """Return the candidates of some rows, renumbered in the order of ``rows``, and their indices among all."""
    numbers = {row: number for number, row in enumerate(rows)}
    kept = np.array([index for index, (row, _, _) in enumerate(described.origins) if row in numbers], int)
    origins = [(numbers[row], member, rank) for row, member, rank in (described.origins[index] for index in kept)]
    return Described(origins, described.values[kept]), kept


def choose(rows: Sequence[Row], described: Described, model: Reranker) -> list[Outcome]:
    """Return for each row the candidate with the highest predicted score; ties go to the first."""
    predicted = np.round(model.predict(described.values), DIGITS)
    best: dict[int, int] = {}
    for candidate, (row_index, _, _) in enumerate(described.origins):
        if row_index not in best or predicted[candidate] > predicted[best[row_index]]:
            best[row_index] = candidate
    outcomes = []
    for row_index, row in enumerate(rows):
        candidate = best[row_index]
        _, member, rank = described.origins[candidate]
        text = row.candidates[member][rank].text
        outcomes.append(Outcome(text=text, score=float(predicted[candidate]), member=member, rank=rank))
    return outcomes
