"""Minimum Bayes risk: the candidate most similar to all others, weighted by member.

The expected utility of a candidate is the weighted mean of its utility with every candidate as reference, itself
included (Kumar and Byrne 2004; Eikema and Aziz 2020 for n-best lists and samples). A member's weight is divided equally
among its candidates, so that more candidates do not give a member more influence. With a length penalty, a candidate
has the weight that the members' likelihoods give it in place of its member's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from yoyak.ensemble.likelihood import mean_likelihoods
from yoyak.ensemble.pool import CACHE_LINES, DIGITS, Outcome, Row
from yoyak.ensemble.utility import chrf_matrix, rouge_matrix
from yoyak.params.ensemble import Mbr
from yoyak.scoring.tokenize import tokenizer

Known = dict[tuple[str, ...], np.ndarray]
"""Utilities of sets of texts, which a fit of weights needs again and again."""


def mbr(
    rows: Sequence[Row], weights: Mapping[str, float], granularity: str, settings: Mbr, known: Known | None = None
) -> list[Outcome]:
    """Return the chosen candidate of each row. Ties go to the larger member weight, then to the better rank.

    Utilities are read from ``known``, and those that it has not are added.
    """
    known = {} if known is None else known
    pools = [_make_pool(row, weights, settings) for row in rows]
    new = [key for pool in pools if (key := tuple(sorted(pool))) not in known and len(key) > 1]
    texts = list(dict.fromkeys(text for key in new for text in key))
    tokens = (
        dict(zip(texts, tokenizer(granularity, CACHE_LINES).tokenize_all(texts), strict=True))
        if settings.utility != "chrf"
        else {}
    )
    known |= {key: utilities(key, [tokens.get(text, []) for text in key], settings) for key in new}
    return [_choose(pool, known) for pool in pools]


Pool = dict[str, tuple[float, str, int]]
"""The distinct texts of a row: weight, and the first member that produced the text, with its rank."""


def _make_pool(row: Row, weights: Mapping[str, float], settings: Mbr) -> Pool:
    """Return the eligible candidates, the first few of each member, in order of the members' weights."""
    pool: Pool = {}
    for member in sorted(weights, key=lambda member: -weights[member]):
        kept = list(row.candidates[member])[: settings.candidates]
        for rank, candidate in enumerate(kept):
            weight, *origin = pool.get(candidate.text, (0.0, member, rank))
            pool[candidate.text] = (weight + weights[member] / len(kept), *origin)  # type: ignore[assignment]
    # Empty texts are eligible only if there are no others.
    pool = {text: value for text, value in pool.items() if text.strip()} or pool
    if settings.length_penalty is None:
        return pool
    likelihoods = mean_likelihoods(row, list(pool), weights, settings.length_penalty)
    shares = np.exp(likelihoods - likelihoods.max())
    return {text: (float(share), *pool[text][1:]) for text, share in zip(pool, shares, strict=True)}


def _choose(pool: Pool, known: Known) -> Outcome:
    texts = list(pool)
    shares = np.array([weight for weight, _, _ in pool.values()])
    if not shares.any():
        shares = np.ones(len(texts))
    expected = np.ones(1)
    if len(texts) > 1:
        key = sorted(texts)
        indices = [key.index(text) for text in texts]
        expected = known[tuple(key)][np.ix_(indices, indices)] @ (shares / shares.sum())
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
