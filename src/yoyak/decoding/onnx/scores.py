"""Scores of the next token in numpy: what the options forbid, force or lower, log probabilities, and the highest."""

from __future__ import annotations

from typing import Any

import numpy as np

from yoyak.decoding.onnx.options import Floats, Ints, Sampling, Search

CHUNK = 64
"""Values of which `top_k` looks at the highest only."""


def process(settings: Search, sequences: Ints, scores: Floats, start: int) -> Floats:
    """Change the scores by what the options forbid, force or lower, in transformers' order, and return them.

    Args:
        settings: The options.
        sequences: The tokens of each row so far, prompt included.
        scores: Logits when greedy, log probabilities under beam search, as in transformers.
        start: Tokens of the prompt.
    """
    length = sequences.shape[1]
    if settings.repetition_penalty != 1.0:
        seen = np.take_along_axis(scores, sequences, 1)
        penalty = np.float32(settings.repetition_penalty)
        np.put_along_axis(scores, sequences, np.where(seen < 0, seen * penalty, seen / penalty), 1)
    if settings.no_repeat_ngram_size:
        _ban_repeated(scores, sequences, settings.no_repeat_ngram_size)
    if length - start < settings.min_new_tokens:
        scores[:, settings.eos_token_id] = -np.inf
    if settings.forced_bos_token_id is not None and length == 1:
        _force(scores, settings.forced_bos_token_id)
    if settings.forced_eos_token_id is not None and length == start + settings.max_new_tokens - 1:
        _force(scores, settings.forced_eos_token_id)
    if settings.suppress_tokens:
        scores[:, list(settings.suppress_tokens)] = -np.inf
    begin = start if start > 1 or settings.forced_bos_token_id is None else start + 1
    if settings.begin_suppress_tokens and length == begin:
        scores[:, list(settings.begin_suppress_tokens)] = -np.inf
    return scores


def _ban_repeated(scores: Floats, sequences: Ints, size: int) -> None:
    """Forbid each token that would complete a run of ``size`` tokens a second time."""
    length = sequences.shape[1]
    if length < size:
        return
    if size == 1:
        np.put_along_axis(scores, sequences, np.float32(-np.inf), 1)
        return
    runs = np.lib.stride_tricks.sliding_window_view(sequences[:, :-1], size - 1, axis=1)
    rows, places = np.nonzero((runs == sequences[:, None, length - size + 1 :]).all(2))
    scores[rows, sequences[rows, places + size - 1]] = -np.inf


def _force(scores: Floats, token: int) -> None:
    scores[:] = -np.inf
    scores[:, token] = 0.0


def warp(sampling: Sampling, scores: Floats) -> Floats:
    """Return the scores that tokens are drawn with."""
    scores = scores / np.float32(sampling.temperature)
    if sampling.top_k:
        kept = min(sampling.top_k, scores.shape[1])
        lowest = np.partition(scores, -kept, axis=1)[:, -kept, None]
        scores = np.where(scores < lowest, np.float32(-np.inf), scores)
    if sampling.top_p < 1.0:
        order = np.argsort(scores, axis=1, kind="stable")
        heights = np.cumsum(np.exp(log_softmax(np.take_along_axis(scores, order, 1))), axis=1)
        out = heights <= 1 - sampling.top_p
        out[:, -1] = False
        away = np.zeros_like(out)
        np.put_along_axis(away, order, out, 1)
        scores = np.where(away, np.float32(-np.inf), scores)
    return scores


def log_softmax(scores: Floats) -> Floats:
    """Return the log probabilities of scores along the last axis."""
    shifted = scores - scores.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def log_sum_exp(scores: Floats) -> Floats:
    """Return what a score has to be lowered by to be a log probability, for each row."""
    highest = scores.max(axis=-1, keepdims=True)
    powers = scores - highest
    np.exp(powers, out=powers)
    total: Floats = highest + np.log(powers.sum(axis=-1, keepdims=True))
    return total


def top_k(values: Floats, count: int) -> tuple[Floats, Ints]:
    """Return the ``count`` highest values of each row and their places, highest first.

    The highest are within the chunks with the highest maxima: looking there is many times faster than partitioning
    the whole row. A chunk's values stand apart, so that the maxima of all chunks are taken side by side.
    """
    rows, width = values.shape
    chunks = width // CHUNK
    places: Any = None
    if chunks > 4 * count:
        highest = values[:, : chunks * CHUNK].reshape(rows, CHUNK, chunks).max(axis=1)
        near = np.argpartition(highest, -count, axis=1)[:, -count:]
        inside = (near[:, :, None] + np.arange(CHUNK) * chunks).reshape(rows, -1)
        behind = np.broadcast_to(np.arange(chunks * CHUNK, width), (rows, width - chunks * CHUNK))
        places = np.concatenate([inside, behind], axis=1)
        values = np.take_along_axis(values, places, 1)
    best = np.argpartition(values, -count, axis=1)[:, -count:]
    found = np.take_along_axis(values, best, 1)
    if places is not None:
        best = np.take_along_axis(places, best, 1)
    order = np.lexsort((best, -found), axis=1)
    return np.take_along_axis(found, order, 1), np.take_along_axis(best, order, 1)
