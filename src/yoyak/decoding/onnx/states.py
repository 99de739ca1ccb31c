"""What a search knows of its dialogues, in numpy, and one step of it: as transformers' ``generate`` does it.

    state = SearchState(settings, start=1)
    state.add(prompt)                      # dialogues may join between any two steps
    tokens, parents = state.step(logits)   # from the logits of the next token of each text
    state.written(row)                     # the texts of a dialogue, once state.done[row]
    state.keep(rows)

Each dialogue has its own position, so that dialogues may have started at different times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from yoyak.decoding.onnx.options import NEVER, Floats, Ints, Search
from yoyak.decoding.onnx.scores import log_softmax, log_sum_exp, process_scores, top_k, warp_scores

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Written:
    """A text that a search returns."""

    tokens: list[int]
    """The tokens after the prompt, up to and including the end mark."""
    score: float
    """Sum of the tokens' log probabilities, divided by their number to the power of ``length_penalty``."""


@dataclass(slots=True)
class Beams:
    """The beams of each dialogue. The first axis of all arrays is the dialogues'."""

    positions: Ints
    """Tokens so far, with the prompt."""
    running: Ints
    """Tokens of the beams that go on [dialogues, beams, total]."""
    running_scores: Floats
    """Sum of their log probabilities."""
    sequences: Ints
    """Tokens of the best beams that have ended, or of fillers."""
    lengths: Ints
    """Their tokens after the prompt."""
    scores: Floats
    """Their scores, best first."""
    finished: Bools
    """Whether they are no fillers."""
    improvable: Bools
    """Whether a beam that goes on can still become one of them [dialogues, 1]."""
    done: Bools


@dataclass(slots=True)
class Samples:
    """The texts of each dialogue, which are written independently of each other."""

    positions: Ints
    sequences: Ints
    """Tokens [dialogues, texts, total]."""
    unfinished: Bools
    sums: npt.NDArray[np.float64]
    """Sum of the log probabilities of the tokens."""
    counts: npt.NDArray[np.float64]
    """How many tokens that is."""
    generators: npt.NDArray[Any]
    """Random generators, where tokens are drawn."""
    done: Bools


class SearchState:
    """The dialogues of a search in progress."""

    def __init__(self, settings: Search, start: int) -> None:
        """Have no dialogues yet; ``start`` is the number of tokens of a prompt."""
        self.settings, self.start = settings, start
        self.texts = settings.num_beams if settings.num_beams > 1 else settings.num_return_sequences
        """Texts that are written at once for each dialogue."""
        self.rows: Beams | Samples = self._begin(np.zeros((0, start), dtype=np.int64), [])

    def __len__(self) -> int:
        return len(self.rows.positions)

    @property
    def done(self) -> Bools:
        """Whether each dialogue has all of its texts."""
        return self.rows.done

    def add(self, prompts: Ints, seeds: Sequence[int] = ()) -> None:
        """Add dialogues after those that are there; ``seeds`` are those of their random generators."""
        self.rows = _join(self.rows, self._begin(prompts, seeds or range(len(prompts))))

    def keep(self, dialogues: Ints) -> None:
        """Keep only these dialogues, in this order."""
        self.rows = _take(self.rows, dialogues)

    def step(self, logits: Floats) -> tuple[Ints, Ints | None]:
        """Append a token to each text and return the tokens [dialogues x texts], and the index of the text of the same
        dialogue that each continues [dialogues, texts]; None where each continues itself.

        The logits [dialogues x texts, vocabulary] may be changed. A dialogue that is done may stay: its texts remain.
        """
        if isinstance(self.rows, Samples):
            return _step_samples(self.settings, self.rows, logits, self.start), None
        self.rows, parents = _step_beams(self.settings, self.rows, logits, self.start)
        last = np.minimum(self.rows.positions, self.rows.running.shape[2]) - 1
        return np.take_along_axis(self.rows.running, last[:, None, None], 2).reshape(-1), parents

    def written(self, row: int) -> list[Written]:
        """Return the texts of a dialogue that is done, best first."""
        rows, settings = self.rows, self.settings
        if isinstance(rows, Samples):
            scores = rows.sums[row] / rows.counts[row] ** settings.length_penalty
            texts = [
                Written(_cut_after_end(tokens[self.start :].tolist(), settings), float(score))
                for tokens, score in zip(rows.sequences[row], scores, strict=True)
            ]
            return sorted(texts, key=lambda text: -text.score)
        ends = self.start + rows.lengths[row]
        return [
            Written(_cut_after_end(rows.sequences[row, rank, self.start : ends[rank]].tolist(), settings), float(score))
            for rank, score in enumerate(rows.scores[row, : settings.num_return_sequences])
        ]

    def _begin(self, prompts: Ints, seeds: Sequence[int]) -> Beams | Samples:
        settings, texts, (count, start) = self.settings, self.texts, prompts.shape
        sequences = np.full((count, texts, start + settings.max_new_tokens), settings.pad_token_id, dtype=np.int64)
        sequences[:, :, :start] = prompts[:, None]
        positions, nothing = np.full(count, start, dtype=np.int64), np.zeros((count, texts), dtype=bool)
        if settings.num_beams == 1:
            generators = np.empty((count, texts), dtype=object)
            if settings.sampling:
                for row, seed in enumerate(seeds):
                    for text in range(texts):
                        generators[row, text] = np.random.default_rng([settings.sampling.seed, seed, text])
            sums = np.zeros((count, texts))
            return Samples(positions, sequences, ~nothing, sums, sums.copy(), generators, np.zeros(count, dtype=bool))
        running_scores = np.zeros((count, texts), dtype=np.float32)
        running_scores[:, 1:] = NEVER
        return Beams(
            positions=positions,
            running=sequences,
            running_scores=running_scores,
            sequences=sequences.copy(),
            lengths=np.zeros((count, texts), dtype=np.int64),
            scores=np.full((count, texts), NEVER, dtype=np.float32),
            finished=nothing,
            improvable=np.ones((count, 1), dtype=bool),
            done=np.zeros(count, dtype=bool),
        )


def _step_samples(settings: Search, rows: Samples, logits: Floats, start: int) -> Ints:
    """Append one token to each text, in place: the best one, or a sampled one."""
    count, texts, total = rows.sequences.shape
    sequences, positions = rows.sequences.reshape(-1, total), np.repeat(rows.positions, texts)
    unfinished = rows.unfinished.reshape(-1)
    scores = process_scores(settings, sequences, positions, logits, start)
    if settings.sampling:
        scores = warp_scores(settings.sampling, scores)
        tokens = _draw(log_softmax(scores), rows.generators.reshape(-1))
    else:
        tokens = scores.argmax(axis=1)
    tokens = np.where(unfinished, tokens, settings.pad_token_id)
    writable = np.flatnonzero(positions < total)
    sequences[writable, positions[writable]] = tokens[writable]
    counted = unfinished & ((tokens != settings.pad_token_id) | (positions == start))
    logs = np.take_along_axis(scores, tokens[:, None], 1) - log_sum_exp(scores)
    rows.sums += np.where(counted, logs[:, 0], 0.0).reshape(count, texts)
    rows.counts += counted.reshape(count, texts)
    rows.positions = np.minimum(rows.positions + 1, total)
    goes_on = unfinished & (tokens != settings.eos_token_id) & (positions + 1 < total)
    rows.unfinished = goes_on.reshape(count, texts)
    rows.done = np.asarray(~rows.unfinished.any(axis=1))
    return tokens


def _draw(logs: Floats, generators: npt.NDArray[Any]) -> Ints:
    """Draw one token for each row, each with its own random generator."""
    cumulative = np.cumsum(np.exp(logs.astype(np.float64)), axis=1)
    return np.array(
        [
            min(int(np.searchsorted(row, generator.random() * row[-1], side="right")), len(row) - 1)
            for row, generator in zip(cumulative, generators, strict=True)
        ]
    )


def _step_beams(settings: Search, rows: Beams, logits: Floats, start: int) -> tuple[Beams, Ints]:
    """Keep the best sequences of each dialogue: a step of transformers' `_beam_search`, line by line.

    Also returns which beam each of the running ones continues.
    """
    count, beams, total = rows.running.shape
    penalty, early = settings.length_penalty, settings.early_stopping is True
    # A dialogue that has no room left is done, and may stay: what it writes in the last place is not read.
    positions = np.minimum(rows.positions, total - 1)
    logs, beam, tokens = _rank_continuations(settings, rows.running, positions, logits, start)
    logs += np.take_along_axis(rows.running_scores, beam, 1)
    order = np.lexsort((tokens, beam, -logs), axis=1)[:, : 2 * beams]
    totals: Floats = np.take_along_axis(logs, order, 1)
    beam, tokens = np.take_along_axis(beam, order, 1), np.take_along_axis(tokens, order, 1)
    candidates = np.take_along_axis(rows.running, beam[:, :, None], 1)
    np.put_along_axis(candidates, positions[:, None, None], tokens[:, :, None], 2)
    is_last = positions + 1 >= total
    ended = (tokens == settings.eos_token_id) | is_last[:, None]

    running_totals = totals + ended * NEVER
    order = np.argsort(-running_totals, axis=1, kind="stable")[:, :beams]
    running = np.take_along_axis(candidates, order[:, :, None], 1)
    running_scores = np.take_along_axis(running_totals, order, 1)
    parents = np.take_along_axis(beam, order, 1)

    length = positions + 1 - start
    newly_finished = ended & (np.arange(2 * beams) < beams)
    final = totals / _power(length, penalty)
    final += (rows.finished.all(1, keepdims=True) & early) * NEVER
    final += ~rows.improvable * NEVER
    final += ~newly_finished * NEVER
    merged = np.concatenate([rows.scores, final], axis=1)
    order = np.argsort(-merged, axis=1, kind="stable")[:, :beams]
    scores = np.take_along_axis(merged, order, 1)
    sequences = np.take_along_axis(np.concatenate([rows.sequences, candidates], axis=1), order[:, :, None], 1)
    new_lengths = np.broadcast_to(length[:, None], (count, 2 * beams))
    lengths = np.take_along_axis(np.concatenate([rows.lengths, new_lengths], axis=1), order, 1)
    finished = np.take_along_axis(np.concatenate([rows.finished, newly_finished], axis=1), order, 1)

    if settings.early_stopping == "never" and penalty > 0:
        length = np.full_like(length, settings.max_new_tokens)
    best = running_scores[:, :1] / _power(length, penalty)
    worst = np.where(finished, scores.min(1, keepdims=True), NEVER)
    improvable = rows.improvable & (best > worst).any(1, keepdims=True) & ~is_last[:, None]
    done = ~improvable[:, 0] | (finished.all(1) & early)
    return (
        Beams(positions + 1, running, running_scores, sequences, lengths, scores, finished, improvable, done),
        parents,
    )


def _power(lengths: Ints, penalty: float) -> Floats:
    """Return the divisors of the scores of texts of these lengths [dialogues, 1]."""
    return np.array([length**penalty for length in lengths.tolist()], dtype=np.float32)[:, None]


def _rank_continuations(
    settings: Search, running: Ints, positions: Ints, logits: Floats, start: int
) -> tuple[Floats, Ints, Ints]:
    """Return log probability, beam and token [dialogues, beams * 2 * beams] of each beam's best next tokens."""
    count, beams, total = running.shape
    forced = settings.forced_bos_token_id is not None or settings.forced_eos_token_id is not None
    norm: Floats | None = None
    if settings.repetition_penalty != 1.0 or forced:
        # These options need log probabilities; the others forbid tokens, whatever their scores.
        logits = log_softmax(logits)
    else:
        norm = log_sum_exp(logits)
    scores = process_scores(settings, running.reshape(-1, total), np.repeat(positions, beams), logits, start)
    best, tokens = top_k(scores, 2 * beams)
    if norm is not None:
        best = best - norm
    beam = np.broadcast_to(np.repeat(np.arange(beams), 2 * beams), (count, 2 * beams * beams))
    return best.reshape(count, -1), beam, tokens.reshape(count, -1)


def _cut_after_end(tokens: list[int], settings: Search) -> list[int]:
    """Return the tokens up to the end mark."""
    if settings.eos_token_id in tokens:
        return tokens[: tokens.index(settings.eos_token_id) + 1]
    return tokens


def _take(rows: Any, dialogues: Ints) -> Any:
    return type(rows)(*(getattr(rows, field.name)[dialogues] for field in fields(rows)))


def _join(first: Any, second: Any) -> Any:
    arrays = ((getattr(first, field.name), getattr(second, field.name)) for field in fields(first))
    return type(first)(*(np.concatenate(pair) for pair in arrays))
