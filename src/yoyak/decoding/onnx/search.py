"""Greedy search, sampling and beam search in numpy, step by step as transformers' ``generate`` does them.

It works with anything that returns logits for the next token, see `Decoder`. The options have the names and meanings of
transformers' GenerationConfig and give the same results (transformers 4.57), except that sampling draws other numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from yoyak.decoding.deadline import check_deadline
from yoyak.decoding.onnx.options import NEVER, Floats, Ints, Search
from yoyak.decoding.onnx.scores import log_softmax, log_sum_exp, process_scores, top_k, warp_scores

MIN_ACTIVE_SHARE = 0.5
"""Finished dialogues are removed from the batch, which copies the cache, once at most this share is unfinished."""


class Decoder(Protocol):
    """A model in the middle of a batch: one row for each text that is being written.

    The search may change the logits [rows, vocabulary] in place.
    """

    def first(self) -> Floats:
        """Return the logits of the first token of each row."""

    def advance(self, tokens: Ints, source: Ints | None) -> Floats:
        """Append one token to each row and return the logits of the next.

        ``source`` holds the index of the previous row that each row continues; None means that each continues itself.
        The rows of a dialogue are adjacent, equally many for each dialogue, and only continue one another.
        """

    def keep(self, dialogues: Ints) -> None:
        """Keep only some of the dialogues, given by their indices among the remaining ones."""


@dataclass(frozen=True, slots=True)
class Written:
    """A text that a search returns."""

    tokens: list[int]
    """The tokens after the prompt, up to and including the end mark."""
    score: float
    """Sum of the tokens' log probabilities, divided by their number to the power of ``length_penalty``."""


def search(decoder: Decoder, prompt: Ints, settings: Search, rows: Sequence[int] | None = None) -> list[list[Written]]:
    """Return the texts that continue each row of the batch, best first.

    Args:
        decoder: The model, which has read the inputs.
        prompt: Tokens before the first new one, padded: the start token, or a causal model's input.
        settings: The options of the search.
        rows: A number for each row that seeds its sampling; by default its index in the batch.
    """
    if settings.num_beams > 1:
        return _beam_search(decoder, prompt, settings)
    return _sample(decoder, prompt, settings, list(range(len(prompt)) if rows is None else rows))


def _sample(decoder: Decoder, prompt: Ints, settings: Search, rows: list[int]) -> list[list[Written]]:
    """Append one token at a time: the best one, or a sampled one."""
    batch, start = prompt.shape
    per_dialogue, sampling = settings.num_return_sequences, settings.sampling
    count = batch * per_dialogue
    total = start + settings.max_new_tokens
    sequences = np.full((count, total), settings.pad_token_id, dtype=np.int64)
    sequences[:, :start] = np.repeat(prompt, per_dialogue, axis=0)
    generators = (
        [np.random.default_rng([sampling.seed, row, number]) for row in rows for number in range(per_dialogue)]
        if sampling
        else []
    )
    logits = np.repeat(decoder.first(), per_dialogue, axis=0)
    source: Ints | None = np.repeat(np.arange(batch), per_dialogue) if per_dialogue > 1 else None
    active = np.arange(count)
    """Indices in ``sequences`` of the rows that are still in the batch."""
    unfinished = np.ones(count, dtype=bool)
    sums, lengths = np.zeros(count), np.zeros(count)
    for position in range(start, total):
        check_deadline()
        scores = process_scores(settings, sequences[active, :position], logits, start)
        if sampling:
            scores = warp_scores(sampling, scores)
        tokens = _draw(log_softmax(scores), [generators[row] for row in active]) if sampling else scores.argmax(axis=1)
        tokens = np.where(unfinished[active], tokens, settings.pad_token_id)
        sequences[active, position] = tokens
        counted = unfinished[active] & ((tokens != settings.pad_token_id) | (position == start))
        logs = np.take_along_axis(scores, tokens[:, None], 1) - log_sum_exp(scores)
        sums[active] += np.where(counted, logs[:, 0], 0.0)
        lengths[active] += counted
        unfinished[active] &= tokens != settings.eos_token_id
        if not unfinished.any() or position + 1 == total:
            break
        if source is None:
            needed = np.any(unfinished[active].reshape(-1, per_dialogue), axis=1)
            if needed.sum() <= len(needed) * MIN_ACTIVE_SHARE:
                decoder.keep(np.flatnonzero(needed))
                remaining = np.repeat(needed, per_dialogue)
                active, tokens = active[remaining], tokens[remaining]
        logits = decoder.advance(tokens, source)
        source = None
    scored = sums / lengths**settings.length_penalty
    texts = [
        Written(_cut_after_end(row[start:].tolist(), settings), float(score))
        for row, score in zip(sequences, scored, strict=True)
    ]
    groups = [texts[first : first + per_dialogue] for first in range(0, count, per_dialogue)]
    return [sorted(group, key=lambda text: -text.score) for group in groups]


def _draw(logs: Floats, generators: Sequence[np.random.Generator]) -> Ints:
    """Draw one token for each row, each with its own random generator."""
    cumulative = np.cumsum(np.exp(logs.astype(np.float64)), axis=1)
    return np.array(
        [
            min(int(np.searchsorted(row, generator.random() * row[-1], side="right")), len(row) - 1)
            for row, generator in zip(cumulative, generators, strict=True)
        ]
    )


def _beam_search(decoder: Decoder, prompt: Ints, settings: Search) -> list[list[Written]]:
    """Keep the ``num_beams`` best sequences of each row: transformers' `_beam_search`, line by line."""
    batch, start = prompt.shape
    beams, penalty = settings.num_beams, settings.length_penalty
    early = settings.early_stopping is True
    count = 2 * beams
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
    is_top = np.arange(count) < beams
    active = np.arange(batch)
    """Indices in the batch of the dialogues that are still being written."""
    texts: list[list[Written]] = [[] for _ in range(batch)]
    logits = np.repeat(decoder.first(), beams, axis=0)
    for position in range(start, total):
        check_deadline()
        logs, beam, tokens = _rank_continuations(settings, running[:, :, :position], logits, start)
        logs += np.take_along_axis(running_scores, beam, 1)
        order = np.lexsort((tokens, beam, -logs), axis=1)[:, :count]
        totals: Floats = np.take_along_axis(logs, order, 1)
        beam, tokens = np.take_along_axis(beam, order, 1), np.take_along_axis(tokens, order, 1)
        candidates = np.take_along_axis(running, beam[:, :, None], 1)
        candidates[:, :, position] = tokens
        ended = (tokens == settings.eos_token_id) | (position + 1 >= total)

        running_totals = totals + ended * NEVER
        order = np.argsort(-running_totals, axis=1, kind="stable")[:, :beams]
        running = np.take_along_axis(candidates, order[:, :, None], 1)
        running_scores = np.take_along_axis(running_totals, order, 1)
        beam = np.take_along_axis(beam, order, 1)

        newly_finished = ended & is_top
        final = totals / np.float32((position + 1 - start) ** penalty)
        final += (finished.all(1, keepdims=True) & early) * NEVER
        final += ~improvable * NEVER
        final += ~newly_finished * NEVER
        merged = np.concatenate([scores, final], axis=1)
        order = np.argsort(-merged, axis=1, kind="stable")[:, :beams]
        scores = np.take_along_axis(merged, order, 1)
        sequences = np.take_along_axis(np.concatenate([sequences, candidates], axis=1), order[:, :, None], 1)
        lengths = np.take_along_axis(
            np.concatenate([lengths, np.full((len(active), count), position + 1 - start)], axis=1), order, 1
        )
        finished = np.take_along_axis(np.concatenate([finished, newly_finished], axis=1), order, 1)

        possible_length = (
            settings.max_new_tokens if settings.early_stopping == "never" and penalty > 0 else position + 1 - start
        )
        best = running_scores[:, :1] / np.float32(possible_length**penalty)
        worst = np.where(finished, scores.min(1, keepdims=True), NEVER)
        improvable = improvable & (best > worst).any(1, keepdims=True)
        done = ~improvable[:, 0] | (finished.all(1) & early)
        all_done = done.all() or ended.all()
        if all_done or (position > start and (~done).sum() <= len(active) * MIN_ACTIVE_SHARE):
            for row in range(len(active)) if all_done else np.flatnonzero(done):
                texts[active[row]] = [
                    Written(
                        _cut_after_end(sequences[row, rank, start : start + lengths[row, rank]].tolist(), settings),
                        float(score),
                    )
                    for rank, score in enumerate(scores[row, : settings.num_return_sequences])
                ]
            if all_done:
                break
            remaining = np.flatnonzero(~done)
            decoder.keep(remaining)
            active, improvable, beam = active[remaining], improvable[remaining], beam[remaining]
            running, running_scores = running[remaining], running_scores[remaining]
            sequences, lengths, scores, finished = (
                sequences[remaining],
                lengths[remaining],
                scores[remaining],
                finished[remaining],
            )
        # The first step ran one row for each dialogue; all others run one for each beam.
        first = np.arange(len(active))[:, None]
        source = (beam + first * beams if position > start else np.broadcast_to(first, beam.shape)).reshape(-1)
        logits = decoder.advance(running[:, :, position].reshape(-1), source)
    return texts


def _rank_continuations(settings: Search, running: Ints, logits: Floats, start: int) -> tuple[Floats, Ints, Ints]:
    """Return log probability, beam and token [batch, beams * 2 * beams] of each beam's best next tokens."""
    batch, beams, position = running.shape
    forced = settings.forced_bos_token_id is not None or settings.forced_eos_token_id is not None
    norm: Floats | None = None
    if settings.repetition_penalty != 1.0 or forced:
        # These options need log probabilities; the others forbid tokens, whatever their scores.
        logits = log_softmax(logits)
    else:
        norm = log_sum_exp(logits)
    best, tokens = top_k(process_scores(settings, running.reshape(batch * beams, position), logits, start), 2 * beams)
    if norm is not None:
        best = best - norm
    beam = np.broadcast_to(np.repeat(np.arange(beams), 2 * beams), (batch, 2 * beams * beams))
    return best.reshape(batch, -1), beam, tokens.reshape(batch, -1)


def _cut_after_end(tokens: list[int], settings: Search) -> list[int]:
    """Return the tokens up to the end mark."""
    if settings.eos_token_id in tokens:
        return tokens[: tokens.index(settings.eos_token_id) + 1]
    return tokens
