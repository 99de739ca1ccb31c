"""Consensus likelihood: the candidate with the highest weighted mean of the members' log-likelihoods.

It is the logit ensemble of members that share no tokenizer: the geometric mean of their probabilities, of whole texts
in place of tokens, over what any of them wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from yoyak.ensemble.pool import DIGITS, Outcome, Row
from yoyak.errors import UserError


def choose_likeliest(rows: Sequence[Row], weights: Mapping[str, float], length_penalty: float) -> list[Outcome]:
    """Return the likeliest candidate of each row. Ties go to the larger member weight, then to the better rank.

    The score is its mean log-likelihood. Raises UserError if no member with a weight could score the candidates.
    """
    order = sorted(weights, key=lambda member: -weights[member])
    outcomes = []
    for row in rows:
        pool: dict[str, tuple[str, int]] = {}
        for member in order:
            for rank, candidate in enumerate(row.candidates[member]):
                pool.setdefault(candidate.text, (member, rank))
        # Empty texts are eligible only if there are no others.
        texts = [text for text in pool if text.strip()] or list(pool)
        consensus = mean_likelihoods(row, texts, weights, length_penalty)
        best = int(np.argmax(np.round(consensus, DIGITS)))
        member, rank = pool[texts[best]]
        score = round(float(consensus[best]), DIGITS)
        outcomes.append(Outcome(text=texts[best], score=score, member=member, rank=rank))
    return outcomes


def mean_likelihoods(row: Row, texts: Sequence[str], weights: Mapping[str, float], length_penalty: float) -> np.ndarray:
    """Return [texts]: the weighted mean of the log-likelihoods of the members that scored this row's candidates."""
    scorers = {member: weights[member] for member in weights if member in row.likelihoods and weights[member] > 0}
    if not scorers:
        raise UserError(
            f"no member with a weight has scored the candidates of dialogue '{row.fname}': likelihoods need at least "
            "one that runs here, and `yoyak score_candidates`."
        )
    values = np.array([[row.likelihoods[member][text] for text in texts] for member in scorers])
    lengths = np.array([len(text) + 1 for text in texts], float)
    shares = np.array(list(scorers.values()))
    mean: np.ndarray = shares @ values / shares.sum() * lengths ** (1 - length_penalty)
    return mean
