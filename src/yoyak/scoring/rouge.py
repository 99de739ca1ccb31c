"""ROUGE-1, ROUGE-2, ROUGE-L and their combination for each dialogue, against one reference or several.

The arithmetic is rouge_score's, on the tokens of `yoyak.scoring.tokenize` and equal to its RougeScorer to the last
digit; two things are arranged for speed. The n-grams of a text are counted once and not once for each text that it is
compared with. The longest common subsequence of ROUGE-L is found with Hyyrö's bit-parallel recurrence (2004) and not
in rouge_score's table: the same integer in a tenth of the time.

Several references: ``mean`` is the mean of the F1 against each (the rule of the Korean competitions on this data);
``max`` is the best F1, for each metric by itself, as rouge_score's ``score_multi`` has it. The combined score is
made for each reference first, so its ``max`` belongs to one reference and is no sum of maxima of different ones.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from rouge_score import scoring
from tqdm import tqdm

from yoyak.scoring.tokenize import tokenizer

METRICS = ("rouge1", "rouge2", "rougeL", "combined")
CHUNK = 500

Protocol = Literal["mean", "max"]
PROTOCOLS: tuple[Protocol, ...] = ("mean", "max")
Tokens = list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceScores:
    """F1 of each prediction against each of its references, from which both protocols follow."""

    values: np.ndarray
    """[pairs of prediction and reference, `METRICS`], the references of one dialogue in consecutive rows."""
    starts: np.ndarray
    """[dialogues]: first row of each."""

    def reduce(self, multi_reference: Protocol) -> np.ndarray:
        """Return [dialogues, `METRICS`] by the protocol."""
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

    ``references[i]`` are the references of ``predictions[i]``, one or more. ``weights`` are the shares of ROUGE-1,
    ROUGE-2 and ROUGE-L in the combined score. An empty prediction scores 0. Raises ValueError where the lengths
    differ or a dialogue has no reference, UserError for an unknown granularity.
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

    Texts are tokenized here (Kiwi has threads of its own); ``processes`` share the comparing.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions need as many references, not {len(references)}")
    for number, texts in enumerate(references):
        if isinstance(texts, str) or not texts:
            raise ValueError(f"references[{number}] must be a sequence of one or more texts, not {texts!r}")
    tokens = iter(tokenizer(granularity).tokenize_all([*predictions, *(t for row in references for t in row)]))
    predicted = [next(tokens) for _ in predictions]
    work = [(tokens_of, [next(tokens) for _ in row]) for tokens_of, row in zip(predicted, references, strict=True)]
    values = np.empty((sum(len(row) for row in references), len(METRICS)))
    values[:, :3] = np.reshape(list(_scores(work, processes, f"{granularity} ROUGE")), (-1, 3))
    values[:, 3] = sum(weight * values[:, column] for column, weight in enumerate(weights))
    starts = np.cumsum([0, *(len(row) for row in references)], dtype=int)[:-1]
    return ReferenceScores(values=values, starts=starts)


def f1(prediction: Tokens, reference: Tokens) -> tuple[float, float, float]:
    """Return the F1 of ROUGE-1, ROUGE-2 and ROUGE-L between two lists of tokens."""
    counted, wanted = _ngrams(tuple(prediction)), _ngrams(tuple(reference))
    rouge1, rouge2 = (_overlap(*pair) for pair in zip(counted, wanted, strict=True))
    common = _common(reference, prediction)
    if not common:
        return rouge1, rouge2, 0.0
    return rouge1, rouge2, scoring.fmeasure(common / len(prediction), common / len(reference))


Grams = tuple[Counter[Any], int]
"""N-grams and their number."""


def _overlap(counted: Grams, wanted: Grams) -> float:
    """Return rouge_score's F1 of n-grams."""
    (found, size), (target, length) = counted, wanted
    common = sum(min(found[gram], target[gram]) for gram in found.keys() & target.keys())
    return scoring.fmeasure(common / max(size, 1), common / max(length, 1))


@lru_cache(maxsize=1024)
def _ngrams(tokens: tuple[str, ...]) -> tuple[Grams, Grams]:
    return (Counter(tokens), len(tokens)), (Counter(pairwise(tokens)), max(len(tokens) - 1, 0))


def lcs_lengths(tokens: Sequence[Sequence[str]]) -> np.ndarray:
    """Return [texts, texts]: the length of the longest common subsequence of every two lists of tokens."""
    found = np.empty((len(tokens), len(tokens)))
    places = [_places(text) for text in tokens]
    for row, first in enumerate(tokens):
        found[row, row] = len(first)
        for column in range(row):
            found[row, column] = found[column, row] = _lcs(len(first), places[row], tokens[column])
    return found


def _common(first: Tokens, second: Tokens) -> int:
    return _lcs(len(first), _places(first), second)


def _places(tokens: Sequence[str]) -> dict[str, int]:
    """Return the places of each token as the bits of a number."""
    places: dict[str, int] = {}
    for place, token in enumerate(tokens):
        places[token] = places.get(token, 0) | 1 << place
    return places


def _lcs(length: int, places: dict[str, int], second: Sequence[str]) -> int:
    """Return the length of the longest common subsequence; bit i of ``row`` is a column of the classic table."""
    every = (1 << length) - 1
    row = every
    for token in second:
        if (match := places.get(token)) is not None:
            kept = row & match
            row = (row + kept | row - kept) & every
    return length - row.bit_count()


Work = list[tuple[Tokens, list[Tokens]]]


def _scores(work: Work, processes: int, name: str) -> Iterator[tuple[float, float, float]]:
    chunks = [work[start : start + CHUNK] for start in range(0, len(work), CHUNK)]
    with ExitStack() as stack:
        done: Iterable[list[tuple[float, float, float]]] = map(_score_chunk, chunks)
        if processes > 1:
            # A forked child would inherit locks that Kiwi's and torch's threads hold.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(processes, mp_context=context))
            done = pool.map(_score_chunk, chunks)
        progress = stack.enter_context(tqdm(total=len(work), desc=name, unit="text", delay=3, leave=False))
        for chunk, values in zip(chunks, done, strict=True):
            yield from values
            progress.update(len(chunk))


def _score_chunk(work: Work) -> list[tuple[float, float, float]]:
    return [f1(prediction, reference) for prediction, references in work for reference in references]
