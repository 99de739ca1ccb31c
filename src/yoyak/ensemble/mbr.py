"""Minimum Bayes risk: the candidate most similar to all others, weighted by member.

The expected utility of a candidate is the weighted mean of its utility with every candidate as reference, itself
included (Kumar and Byrne 2004; Eikema and Aziz 2020 for n-best lists and samples). A member's weight is divided equally
among its candidates, so that more candidates do not give a member more influence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from yoyak.ensemble.pool import CACHE_LINES, Outcome, Row
from yoyak.ensemble.utility import chrf_matrix, rouge_matrix
from yoyak.params.ensemble import Mbr
from yoyak.scoring.tokenize import tokenizer

DIGITS = 9
"""Digits to which utilities are compared; differences beyond them are due to the order of summation."""


def mbr(rows: Sequence[Row], weights: Mapping[str, float], granularity: str, settings: Mbr) -> list[Outcome]:
    """Return the chosen candidate of each row. Ties go to the larger member weight, then to the better rank."""
    pools = [_make_pool(row, weights, settings.candidates) for row in rows]
    texts = list(dict.fromkeys(text for pool in pools for text in pool))
    tokens = (
        dict(zip(texts, tokenizer(granularity, CACHE_LINES).tokenize_all(texts), strict=True))
        if settings.utility != "chrf"
        else {}
    )
    return [_choose(pool, [tokens.get(text, []) for text in pool], settings) for pool in pools]


Pool = dict[str, tuple[float, str, int]]
"""The distinct texts of a row: weight, and the first member that produced the text, with its rank."""


def _make_pool(row: Row, weights: Mapping[str, float], limit: int | None) -> Pool:
    """Return the eligible candidates, the first ``limit`` of each member, in order of the members' weights."""
    pool: Pool = {}
    for member in sorted(weights, key=lambda member: -weights[member]):
        kept = list(row.candidates[member])[:limit]
        for rank, candidate in enumerate(kept):
            weight, *origin = pool.get(candidate.text, (0.0, member, rank))
            pool[candidate.text] = (weight + weights[member] / len(kept), *origin)  # type: ignore[assignment]
    # Empty texts are eligible only if there are no others.
    return {text: value for text, value in pool.items() if text.strip()} or pool


def _choose(pool: Pool, tokens: Sequence[Sequence[str]], settings: Mbr) -> Outcome:
    texts = list(pool)
    shares = np.array([weight for weight, _, _ in pool.values()])
    if not shares.any():
        shares = np.ones(len(texts))
    expected = np.ones(1) if len(texts) == 1 else utilities(texts, tokens, settings) @ (shares / shares.sum())
    best = int(np.argmax(np.round(expected, DIGITS)))
    _, member, rank = pool[texts[best]]
    return Outcome(text=texts[best], score=round(float(expected[best]), DIGITS), member=member, rank=rank)


def utilities(texts: Sequence[str], tokens: Sequence[Sequence[str]], settings: Mbr) -> np.ndarray:
    """Return [candidates, references] of one dialogue, 0 to 1."""
    share = {"rouge": 0.0, "chrf": 1.0, "mix": settings.chrf_share}[settings.utility]
    matrix = np.zeros((len(texts), len(texts)))
    if share < 1:
        matrix += (1 - share) * rouge_matrix(tokens, settings.rouge_weights)
    if share > 0:
        matrix += share * chrf_matrix(texts)
    return matrix
