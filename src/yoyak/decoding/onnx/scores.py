"""Scores of the next token in numpy: logits processors, sampling warpers, log probabilities, top k."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from yoyak.decoding.onnx.options import Floats, Ints, Sampling, Search

CHUNK = 64
"""Number of values that `top_k` first reduces to their maximum."""


def process_scores(settings: Search, sequences: Ints, lengths: Ints, scores: Floats, start: int) -> Floats:
    """Forbid, force or lower tokens as the options say, in place and in transformers' order; return the scores.

    Args:
        settings: The options.
        sequences: The tokens of each row so far, including the prompt; what comes after them is not read.
        lengths: How many tokens each row has.
        scores: Logits for greedy search, log probabilities for beam search, as in transformers.
        start: Number of tokens in the prompt.
    """
    sequences = sequences[:, : lengths.max(initial=1)]
    first = 0 if settings.prompt_counts else start
    counted, known = sequences[:, first:], lengths - first
    if settings.repetition_penalty != 1.0 and counted.size:
        written = _fill(counted, known)
        repeated = np.take_along_axis(scores, written, 1)
        penalty = np.float32(settings.repetition_penalty)
        np.put_along_axis(scores, written, np.where(repeated < 0, repeated * penalty, repeated / penalty), 1)
    if settings.no_repeat_ngram_size:
        _ban_repeated_ngrams(scores, counted, known, settings.no_repeat_ngram_size)
    if settings.min_new_tokens:
        scores[lengths - start < settings.min_new_tokens, settings.eos_token_id] = -np.inf
    if settings.forced_bos_token_id is not None:
        _force_token(scores, lengths == 1, settings.forced_bos_token_id)
    if settings.forced_eos_token_id is not None:
        _force_token(scores, lengths == start + settings.max_new_tokens - 1, settings.forced_eos_token_id)
    if settings.suppress_tokens:
        scores[:, list(settings.suppress_tokens)] = -np.inf
    begin = start if start > 1 or settings.forced_bos_token_id is None else start + 1
    if settings.begin_suppress_tokens:
        scores[np.ix_(lengths == begin, settings.begin_suppress_tokens)] = -np.inf
    return scores


def _fill(sequences: Ints, lengths: Ints) -> Ints:
    """Return the tokens of each row, with its first one in the place of those that it does not have yet."""
    return np.where(np.arange(sequences.shape[1]) < lengths[:, None], sequences, sequences[:, :1])


def _ban_repeated_ngrams(scores: Floats, sequences: Ints, lengths: Ints, size: int) -> None:
    """Forbid each token that would complete an n-gram of ``size`` tokens that is already there."""
    if sequences.shape[1] < size:
        return
    if size == 1:
        np.put_along_axis(scores, _fill(sequences, lengths), np.float32(-np.inf), 1)
        return
    last = np.maximum(lengths[:, None] - size + 1, 0) + np.arange(size - 1)
    prefixes = np.lib.stride_tricks.sliding_window_view(sequences[:, :-1], size - 1, axis=1)
    same = (prefixes == np.take_along_axis(sequences, last, 1)[:, None]).all(2)
    # Of an n-gram that is there, the last token is there as well.
    same &= np.arange(same.shape[1]) + size - 1 < lengths[:, None]
    rows, indices = np.nonzero(same)
    scores[rows, sequences[rows, indices + size - 1]] = -np.inf


def _force_token(scores: Floats, rows: npt.NDArray[np.bool_], token: int) -> None:
    scores[rows] = -np.inf
    scores[rows, token] = 0.0


def warp_scores(sampling: Sampling, scores: Floats) -> Floats:
    """Apply temperature, top k and top p; tokens that are left out get -inf."""
    scores = scores / np.float32(sampling.temperature)
    if sampling.top_k:
        count = min(sampling.top_k, scores.shape[1])
        lowest = np.partition(scores, -count, axis=1)[:, -count, None]
        scores = np.where(scores < lowest, np.float32(-np.inf), scores)
    if sampling.top_p < 1.0:
        order = np.argsort(scores, axis=1, kind="stable")
        cumulative = np.cumsum(np.exp(log_softmax(np.take_along_axis(scores, order, 1))), axis=1)
        is_tail = cumulative <= 1 - sampling.top_p
        is_tail[:, -1] = False
        removed = np.zeros_like(is_tail)
        np.put_along_axis(removed, order, is_tail, 1)
        scores = np.where(removed, np.float32(-np.inf), scores)
    return scores


def log_softmax(scores: Floats) -> Floats:
    """Return the log probabilities of scores along the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_sum_exp(scores: Floats) -> Floats:
    """Return the log-sum-exp of each row: subtracting it turns scores into log probabilities."""
    highest = scores.max(axis=-1, keepdims=True)
    powers = scores - highest
    np.exp(powers, out=powers)
    total: Floats = highest + np.log(powers.sum(axis=-1, keepdims=True))
    return total


def top_k(values: Floats, count: int) -> tuple[Floats, Ints]:
    """Return the ``count`` highest values of each row and their indices, highest first.

    The highest values are in the chunks with the highest maxima: searching only those is many times faster than
    partitioning the whole row. Chunks are strided, so that their maxima are computed in one vectorized pass.
    """
    rows, width = values.shape
    chunks = width // CHUNK
    indices: Any = None
    if chunks > 4 * count:
        highest = values[:, : chunks * CHUNK].reshape(rows, CHUNK, chunks).max(axis=1)
        best_chunks = np.argpartition(highest, -count, axis=1)[:, -count:]
        inside = (best_chunks[:, :, None] + np.arange(CHUNK) * chunks).reshape(rows, -1)
        rest = np.broadcast_to(np.arange(chunks * CHUNK, width), (rows, width - chunks * CHUNK))
        indices = np.concatenate([inside, rest], axis=1)
        values = np.take_along_axis(values, indices, 1)
    best = np.argpartition(values, -count, axis=1)[:, -count:]
    best_values = np.take_along_axis(values, best, 1)
    if indices is not None:
        best = np.take_along_axis(indices, best, 1)
    order = np.lexsort((best, -best_values), axis=1)
    return np.take_along_axis(best_values, order, 1), np.take_along_axis(best, order, 1)
