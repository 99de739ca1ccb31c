"""Greedy search, sampling and beam search in numpy, step by step as transformers' ``generate`` does them.

Whatever can give logits for the next token can be searched with: see `Decoder`. Names and meanings of the options are
those of transformers' GenerationConfig, and so is every result (transformers 4.57; sampling draws other numbers).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from yoyak.decoding.onnx.options import NEVER, Floats, Ints, Search
from yoyak.decoding.onnx.scores import log_softmax, log_sum_exp, process, top_k, warp

FEW = 0.5
"""Share of dialogues that are not finished from which those that are leave the batch: leaving costs a copy."""


class Decoder(Protocol):
    """A model in the middle of a batch: one row for each text that is being written.

    The logits [rows, vocabulary] are the search's own to change.
    """

    def first(self) -> Floats:
        """Return the logits of the first token of each row."""

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        """Append one token to each row and return the logits of the next.

        ``source`` says which of the rows so far each row goes on from; None says that each goes on from itself. The
        rows of a dialogue stand together, as many for each, and go on from one another only.
        """

    def keep(self, dialogues: Ints) -> None:
        """Go on with some of the dialogues only, by their places among those that are left."""


@dataclass(frozen=True, slots=True)
class Written:
    """One text of a search."""

    tokens: list[int]
    """Its tokens behind the prompt, up to the end mark and with it."""
    score: float
    """Sum of the tokens' log probabilities, over their number to the power of ``length_penalty``."""


def search(decoder: Decoder, prompt: Ints, settings: Search, rows: Sequence[int] | None = None) -> list[list[Written]]:
    """Return what each row of the batch writes behind its prompt, best first.

    Args:
        decoder: The model, which has read the inputs.
        prompt: Tokens that stand before the first written one, padded: the start token, or a causal model's input.
        settings: How to write.
        rows: A number for each row that its draws depend on when sampling; by default its place in the batch.
    """
    if settings.num_beams > 1:
        return _beam_search(decoder, prompt, settings)
    return _sample(decoder, prompt, settings, list(range(len(prompt)) if rows is None else rows))


def _sample(decoder: Decoder, prompt: Ints, settings: Search, rows: list[int]) -> list[list[Written]]:
    """Write one token after the other: the best one, or one that is drawn."""
    batch, start = prompt.shape
    kept, sampling = settings.num_return_sequences, settings.sampling
    count = batch * kept
    total = start + settings.max_new_tokens
    sequences = np.full((count, total), settings.pad_token_id, dtype=np.int64)
    sequences[:, :start] = np.repeat(prompt, kept, axis=0)
    chances = (
        [np.random.default_rng([sampling.seed, row, number]) for row in rows for number in range(kept)]
        if sampling
        else []
    )
    logits = np.repeat(decoder.first(), kept, axis=0)
    source: Ints | None = np.repeat(np.arange(batch), kept) if kept > 1 else None
    left = np.arange(count)
    """Rows that are still written, by their places in ``sequences``."""
    open_rows = np.ones(count, dtype=bool)
    sums, lengths = np.zeros(count), np.zeros(count)
    for place in range(start, total):
        scores = process(settings, sequences[left, :place], logits, start)
        if sampling:
            scores = warp(sampling, scores)
        tokens = _draw(log_softmax(scores), [chances[row] for row in left]) if sampling else scores.argmax(axis=1)
        tokens = np.where(open_rows[left], tokens, settings.pad_token_id)
        sequences[left, place] = tokens
        real = open_rows[left] & ((tokens != settings.pad_token_id) | (place == start))
        logs = np.take_along_axis(scores, tokens[:, None], 1) - log_sum_exp(scores)
        sums[left] += np.where(real, logs[:, 0], 0.0)
        lengths[left] += real
        open_rows[left] &= tokens != settings.eos_token_id
        if not open_rows.any() or place + 1 == total:
            break
        if source is None:
            needed = np.any(open_rows[left].reshape(-1, kept), axis=1)
            if needed.sum() <= len(needed) * FEW:
                decoder.keep(np.flatnonzero(needed))
                stay = np.repeat(needed, kept)
                left, tokens = left[stay], tokens[stay]
        logits = decoder.advance(tokens, source)
        source = None
    scored = sums / lengths**settings.length_penalty
    texts = [
        Written(_cut(row[start:].tolist(), settings), float(score))
        for row, score in zip(sequences, scored, strict=True)
    ]
    groups = [texts[first : first + kept] for first in range(0, count, kept)]
    return [sorted(group, key=lambda text: -text.score) for group in groups]


def _draw(logs: Floats, chances: Sequence[np.random.Generator]) -> Ints:
    """Draw one token of each row, with a source of chance for each."""
    heights = np.cumsum(np.exp(logs.astype(np.float64)), axis=1)
    return np.array(
        [
            min(int(np.searchsorted(height, chance.random() * height[-1], side="right")), len(height) - 1)
            for height, chance in zip(heights, chances, strict=True)
        ]
    )


def _beam_search(decoder: Decoder, prompt: Ints, settings: Search) -> list[list[Written]]:
    """Keep the best ``num_beams`` beginnings of each row: transformers' `_beam_search`, line by line."""
    batch, start = prompt.shape
    beams, penalty = settings.num_beams, settings.length_penalty
    early = settings.early_stopping is True
    kept = 2 * beams
    total = start + settings.max_new_tokens
    running = np.full((batch, beams, total), settings.pad_token_id, dtype=np.int64)
    running[:, :, :start] = prompt[:, None]
    sequences = running.copy()
    lengths = np.zeros((batch, beams), dtype=np.int64)
    running_scores = np.zeros((batch, beams), dtype=np.float32)
    running_scores[:, 1:] = NEVER
    scores = np.full((batch, beams), NEVER, dtype=np.float32)
    finished = np.zeros((batch, beams), dtype=bool)
    improvable = np.ones((batch, 1), dtype=bool)
    top = np.arange(kept) < beams
    left = np.arange(batch)
    """Dialogues that are still written, by their places in the batch."""
    texts: list[list[Written]] = [[] for _ in range(batch)]
    logits = np.repeat(decoder.first(), beams, axis=0)
    for place in range(start, total):
        logs, beam, tokens = _best(settings, running[:, :, :place], logits, start)
        logs += np.take_along_axis(running_scores, beam, 1)
        order = np.lexsort((tokens, beam, -logs), axis=1)[:, :kept]
        found: Floats = np.take_along_axis(logs, order, 1)
        beam, tokens = np.take_along_axis(beam, order, 1), np.take_along_axis(tokens, order, 1)
        candidates = np.take_along_axis(running, beam[:, :, None], 1)
        candidates[:, :, place] = tokens
        ended = (tokens == settings.eos_token_id) | (place + 1 >= total)

        going = found + ended * NEVER
        order = np.argsort(-going, axis=1, kind="stable")[:, :beams]
        running = np.take_along_axis(candidates, order[:, :, None], 1)
        running_scores = np.take_along_axis(going, order, 1)
        beam = np.take_along_axis(beam, order, 1)

        just = ended & top
        final = found / np.float32((place + 1 - start) ** penalty)
        final += (finished.all(1, keepdims=True) & early) * NEVER
        final += ~improvable * NEVER
        final += ~just * NEVER
        merged = np.concatenate([scores, final], axis=1)
        order = np.argsort(-merged, axis=1, kind="stable")[:, :beams]
        scores = np.take_along_axis(merged, order, 1)
        sequences = np.take_along_axis(np.concatenate([sequences, candidates], axis=1), order[:, :, None], 1)
        lengths = np.take_along_axis(
            np.concatenate([lengths, np.full((len(left), kept), place + 1 - start)], axis=1), order, 1
        )
        finished = np.take_along_axis(np.concatenate([finished, just], axis=1), order, 1)

        hoped = settings.max_new_tokens if settings.early_stopping == "never" and penalty > 0 else place + 1 - start
        best = running_scores[:, :1] / np.float32(hoped**penalty)
        worst = np.where(finished, scores.min(1, keepdims=True), NEVER)
        improvable = improvable & (best > worst).any(1, keepdims=True)
        done = ~improvable[:, 0] | (finished.all(1) & early)
        over = done.all() or ended.all()
        if over or (place > start and (~done).sum() <= len(left) * FEW):
            for row in range(len(left)) if over else np.flatnonzero(done):
                texts[left[row]] = [
                    Written(
                        _cut(sequences[row, one, start : start + lengths[row, one]].tolist(), settings), float(score)
                    )
                    for one, score in enumerate(scores[row, : settings.num_return_sequences])
                ]
            if over:
                break
            stay = np.flatnonzero(~done)
            decoder.keep(stay)
            left, improvable, beam = left[stay], improvable[stay], beam[stay]
            running, running_scores = running[stay], running_scores[stay]
            sequences, lengths, scores, finished = sequences[stay], lengths[stay], scores[stay], finished[stay]
        # The first step has run once for each dialogue, all others run once for each beam.
        first = np.arange(len(left))[:, None]
        source = (beam + first * beams if place > start else np.broadcast_to(first, beam.shape)).reshape(-1)
        logits = decoder.advance(running[:, :, place].reshape(-1), source)
    return texts


def _best(settings: Search, running: Ints, logits: Floats, start: int) -> tuple[Floats, Ints, Ints]:
    """Return log probability, beam and token [batch, beams * 2 * beams] of the best ways on from each beam."""
    batch, beams, place = running.shape
    forced = settings.forced_bos_token_id is not None or settings.forced_eos_token_id is not None
    norm: Floats | None = None
    if settings.repetition_penalty != 1.0 or forced:
        # These options are about log probabilities; the others forbid tokens, whatever the scores are.
        logits = log_softmax(logits)
    else:
        norm = log_sum_exp(logits)
    found, tokens = top_k(process(settings, running.reshape(batch * beams, place), logits, start), 2 * beams)
    if norm is not None:
        found = found - norm
    beam = np.broadcast_to(np.repeat(np.arange(beams), 2 * beams), (batch, 2 * beams * beams))
    return found.reshape(batch, -1), beam, tokens.reshape(batch, -1)


def _cut(tokens: list[int], settings: Search) -> list[int]:
    """Return the tokens up to the end mark."""
    if settings.eos_token_id in tokens:
        return tokens[: tokens.index(settings.eos_token_id) + 1]
    return tokens
