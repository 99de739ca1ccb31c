"""How likely a model finds texts that it did not write, as summaries of their dialogues (teacher forcing, one pass).

A log-likelihood is divided by the number of characters, the end mark counted as one, as bits per character are: every
model divides by the same number, whatever its tokenizer makes of the text, so that those of several can be averaged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

CELLS = 16_000_000
"""Logits computed at once: 64 MB."""


@dataclass(frozen=True, slots=True)
class Target:
    """A text whose likelihood is computed."""

    dialogue: int
    """Index of its dialogue."""
    tokens: list[int]


def per_character(log_likelihood: float, text: str) -> float:
    """Return a log-likelihood in nats per character."""
    return log_likelihood / (len(text) + 1)


def score_in_batches(
    targets: Sequence[Target],
    input_lengths: Sequence[int],
    score: Callable[[Sequence[Target]], Sequence[float]],
    *,
    vocabulary: int,
    ran_out_of_memory: Callable[[Exception], bool],
) -> list[float]:
    """Return the log-likelihood of each target.

    Texts of one dialogue and dialogues of similar length share a batch; one that does not fit into memory is halved.

    Args:
        input_lengths: Tokens of each dialogue.
        score: Scores one batch.
        vocabulary: Size of the model's vocabulary, which decides how many tokens fit into a batch.
        ran_out_of_memory: Whether an error means that the batch was too large; other errors are raised.
    """
    order = sorted(
        range(len(targets)),
        key=lambda index: (-input_lengths[targets[index].dialogue], targets[index].dialogue, index),
    )
    results: dict[int, float] = {}
    cells = CELLS
    while len(results) < len(order):
        batch = next(_batches(order[len(results) :], targets, cells // vocabulary))
        try:
            values = score([targets[index] for index in batch])
        except (MemoryError, RuntimeError) as error:
            if len(batch) == 1 or not ran_out_of_memory(error):
                raise
            cells = len(batch) // 2 * max(len(targets[index].tokens) for index in batch) * vocabulary
            continue
        results.update(zip(batch, values, strict=True))
    return [results[index] for index in range(len(targets))]


def _batches(order: Sequence[int], targets: Sequence[Target], tokens: int) -> Iterator[list[int]]:
    """Yield indices of targets that take at most ``tokens`` tokens once they are padded, or a single one."""
    batch: list[int] = []
    width = 0
    for index in order:
        wider = max(width, len(targets[index].tokens))
        if batch and wider * (len(batch) + 1) > tokens:
            yield batch
            batch, wider = [], len(targets[index].tokens)
        batch.append(index)
        width = wider
    yield batch
