"""Pairwise similarity of the texts of one dialogue: ROUGE and chrF of all pairs at once.

Values equal those of rouge_score on our tokens and of sacrebleu's chrF, to the last digit; n-grams are counted once
per text and compared for all pairs as matrices.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from yoyak.scoring.rouge import lcs_lengths

CELLS = 4_000_000
"""Number of counts compared at once, which bounds the memory for many candidates."""
ORDER, BETA = 6, 2
"""chrF's n-gram order and weight of recall (Popović 2015; sacrebleu's defaults)."""

Matrix = np.ndarray


def rouge_matrix(tokens: Sequence[Sequence[str]], weights: Sequence[float]) -> Matrix:
    """Return [texts, texts]: the combined F1 of ROUGE-1, -2 and -L of each pair; symmetric."""
    bigrams = [list(itertools.pairwise(text)) for text in tokens]
    lengths = np.array([len(text) for text in tokens], float)
    total = np.zeros((len(tokens), len(tokens)))
    measures: tuple[tuple[float, Callable[[], Matrix], Matrix], ...] = (
        (weights[0], lambda: overlaps([Counter(text) for text in tokens]), lengths),
        (weights[1], lambda: overlaps([Counter(text) for text in bigrams]), np.maximum(lengths - 1, 0)),
        (weights[2], lambda: lcs_lengths(tokens), lengths),
    )
    for weight, common, sizes in measures:
        if weight:
            total += weight * _f1(common(), sizes)
    return total


def chrf_matrix(texts: Sequence[str]) -> Matrix:
    """Return [texts, texts]: chrF, 0 to 1, with rows as hypotheses and columns as references; not symmetric."""
    letters = ["".join(text.split()) for text in texts]
    shape = (len(texts), len(texts))
    precision, recall, orders = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for size in range(1, ORDER + 1):
        counts = [Counter(text[start : start + size] for start in range(len(text) - size + 1)) for text in letters]
        sizes = np.array([count.total() for count in counts], float)
        both = (sizes[:, None] > 0) & (sizes[None] > 0)
        common = overlaps(counts)
        precision += np.divide(common, sizes[:, None], out=np.zeros(shape), where=both)
        recall += np.divide(common, sizes[None], out=np.zeros(shape), where=both)
        orders += both
    precision = np.divide(precision, orders, out=np.zeros(shape), where=orders > 0)
    recall = np.divide(recall, orders, out=np.zeros(shape), where=orders > 0)
    nonzero = precision + recall > 0
    f_score = np.zeros(shape)
    return np.divide((1 + BETA**2) * precision * recall, BETA**2 * precision + recall, out=f_score, where=nonzero)


def overlaps(counts: Sequence[Counter[Any]]) -> Matrix:
    """Return [texts, texts]: the number of n-grams that each pair shares, with clipped counts."""
    columns: dict[Hashable, int] = {}
    for count in counts:
        for gram in count:
            columns.setdefault(gram, len(columns))
    table = np.zeros((len(counts), len(columns)), np.int32)
    for row, count in zip(table, counts, strict=True):
        row[[columns[gram] for gram in count]] = list(count.values())
    common = np.empty((len(counts), len(counts)))
    step = max(1, CELLS // max(1, table.size))
    for start in range(0, len(counts), step):
        block = np.minimum(table[start : start + step, None], table[None])
        common[start : start + step] = block.sum(axis=2)
    return common


def _f1(common: Matrix, sizes: Matrix) -> Matrix:
    """Return the F1 of precision and recall, in rouge_score's order of operations."""
    zero = np.zeros_like(common)
    precision = np.divide(common, sizes[:, None], out=zero.copy(), where=sizes[:, None] > 0)
    recall = np.divide(common, sizes[None], out=zero.copy(), where=sizes[None] > 0)
    return np.divide(2 * precision * recall, precision + recall, out=zero, where=precision + recall > 0)
