"""ROUGE-1, ROUGE-2, ROUGE-L and their combination for each dialogue, against one or more references.

Scores equal those of rouge_score's RougeScorer on the tokens of `yoyak.scoring.tokenize` to the last digit, with two
optimizations: the n-grams of a text are counted once, not once per comparison; and the longest common subsequence
of ROUGE-L comes from rapidfuzz, which computes the same integer in a hundredth of the time.

With several references, ``mean`` is the mean F1 over them (the rule of the Korean competitions on this data), and
``max`` the best F1 for each metric separately, as in rouge_score's ``score_multi``. The combined score is computed
per reference first, so its ``max`` belongs to one reference and is not a sum of maxima over different ones.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq
from rouge_score import scoring
from tqdm import tqdm

from yoyak.scoring.metrics import METRICS
from yoyak.scoring.tokenize import tokenizer

CHUNK = 500

Protocol = Literal["mean", "max"]
PROTOCOLS: tuple[Protocol, ...] = ("mean", "max")
Tokens = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScores:
    """F1 of each prediction against each of its references, the basis of both protocols."""

    values: np.ndarray
    """[pairs of prediction and reference, `METRICS`]; the references of one dialogue are consecutive rows."""
    starts: np.ndarray
    """[dialogues]: the first row of each."""

    def reduce(self, multi_reference: Protocol) -> np.ndarray:
        """Return [dialogues, `METRICS`] according to the protocol."""
        if multi_reference == "max":
            return np.maximum.reduceat(self.values, self.starts)
        counts = np.diff(self.starts, append=len(self.values))
        return np.add.reduceat(self.values, self.starts) / counts[:, None]


def rouge(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    granularity: str,
    multi_reference: Protocol,
    weights: Sequence[float],
    processes: int = 1,
) -> dict[str, np.ndarray]:
    """Return the F1 of each dialogue, 0 to 1, by metric name (`METRICS`).

    ``references[i]`` are the references of ``predictions[i]``, one or more. ``weights`` are those of ROUGE-1, ROUGE-2
    and ROUGE-L in the combined score. An empty prediction scores 0. Raises ValueError if the lengths differ or a
    dialogue has no reference, UserError for an unknown granularity.
    """
    scores = reference_scores(
        predictions, references, granularity=granularity, weights=weights, processes=processes
    ).reduce(multi_reference)
    return {metric: scores[:, column] for column, metric in enumerate(METRICS)}


def reference_scores(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    *,
    granularity: str,
    weights: Sequence[float],
    processes: int = 1,
) -> ReferenceScores:
    """Score every prediction against each of its references; arguments and errors are those of `rouge`.

    Texts are tokenized in this process (Kiwi uses its own threads); ``processes`` workers compute the scores.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions need as many references, not {len(references)}")
    for number, texts in enumerate(references):
        if isinstance(texts, str) or not texts:
            raise ValueError(f"references[{number}] must be a sequence of one or more texts, not {texts!r}")
    tokens = iter(tokenizer(granularity).tokenize_all([*predictions, *(t for row in references for t in row)]))
    predicted = [next(tokens) for _ in predictions]
    work = [(prediction, [next(tokens) for _ in row]) for prediction, row in zip(predicted, references, strict=True)]
    values = np.empty((sum(len(row) for row in references), len(METRICS)))
    values[:, :-1] = np.reshape(
        list(_score_in_parallel(work, processes, f"{granularity} ROUGE")), (-1, len(METRICS) - 1)
    )
    values[:, -1] = sum(weight * values[:, column] for column, weight in enumerate(weights))
    starts = np.cumsum([0, *(len(row) for row in references)], dtype=int)[:-1]
    return ReferenceScores(values=values, starts=starts)


def f1(prediction: Tokens, reference: Tokens) -> tuple[float, ...]:
    """Return the F1 of two token lists for each of `METRICS` except ``combined``."""
    predicted, expected = _ngrams(tuple(prediction)), _ngrams(tuple(reference))
    rouge1, rouge2 = (_ngram_f1(*pair) for pair in zip(predicted, expected, strict=True))
    common = LCSseq.similarity(reference, prediction)
    if not common:
        return rouge1, rouge2, 0.0
    return rouge1, rouge2, scoring.fmeasure(common / len(prediction), common / len(reference))


Ngrams = tuple[Counter[Any], int]
"""Counts of n-grams and their total."""


def _ngram_f1(predicted: Ngrams, expected: Ngrams) -> float:
    """Return the n-gram F1 as rouge_score computes it."""
    (counts, total), (expected_counts, expected_total) = predicted, expected
    common = sum(min(counts[gram], expected_counts[gram]) for gram in counts.keys() & expected_counts.keys())
    return scoring.fmeasure(common / max(total, 1), common / max(expected_total, 1))


@lru_cache(maxsize=1024)
def _ngrams(tokens: tuple[str, ...]) -> tuple[Ngrams, Ngrams]:
    return (Counter(tokens), len(tokens)), (Counter(pairwise(tokens)), max(len(tokens) - 1, 0))


def lcs_lengths(tokens: Sequence[Sequence[str]]) -> np.ndarray:
    """Return [texts, texts]: the length of the longest common subsequence of each pair of token lists."""
    if not tokens:
        return np.empty((0, 0))
    return process.cdist(tokens, tokens, scorer=LCSseq.similarity, dtype=np.int32).astype(float)


Work = list[tuple[Tokens, list[Tokens]]]


_POOL: ContextVar[ProcessPoolExecutor | None] = ContextVar("pool", default=None)


@contextmanager
def scoring_processes(processes: int) -> Iterator[None]:
    """Let all scores of the block that take several processes share them: starting some takes a second."""
    if processes == 1:
        yield
        return
    with _open_pool(processes) as pool:
        token = _POOL.set(pool)
        try:
            yield
        finally:
            _POOL.reset(token)


def _open_pool(processes: int) -> ProcessPoolExecutor:
    # A forked child would inherit locks held by threads of Kiwi and torch.
    return ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))


def _score_in_parallel(work: Work, processes: int, name: str) -> Iterator[tuple[float, ...]]:
    chunks = [work[start : start + CHUNK] for start in range(0, len(work), CHUNK)]
    with ExitStack() as stack:
        scores: Iterable[list[tuple[float, ...]]] = map(_score_chunk, chunks)
        if processes > 1:
            pool = _POOL.get() or stack.enter_context(_open_pool(processes))
            scores = pool.map(_score_chunk, chunks)
        progress = stack.enter_context(tqdm(total=len(work), desc=name, unit="text", delay=3, leave=False))
        for chunk, values in zip(chunks, scores, strict=True):
            yield from values
            progress.update(len(chunk))


def _score_chunk(work: Work) -> list[tuple[float, ...]]:
    return [f1(prediction, reference) for prediction, references in work for reference in references]
