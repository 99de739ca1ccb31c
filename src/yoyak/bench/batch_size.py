"""The batch size to serve with: found by doubling it for as long as that pays and fits into memory.

Everything happens in one process with one loaded model, so that memory is what a server would hold.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any, Literal

from yoyak.bench.memory import peak_mb

PAYS = 1.05
"""A doubled batch size is taken when it gives more samples a second than the best so far by this factor."""
LARGEST = 64
"""No more is tried: what a server still gains is lost by those who wait for so long a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A batch size that was tried."""

    batch_size: int
    verdict: Literal["pays", "does not pay", "does not fit"]
    samples_per_second: float | None = None
    """None where it could not be measured."""
    peak_mb: float | None = None


def try_batch_sizes(
    summarizer: Any, dialogues: Sequence[str], generation: Any, *, repeats: int, memory_limit_mb: float
) -> Iterator[Tried]:
    """Yield what each batch size gives, from 1 to `LARGEST` by doubling; the first that does not pay or fit ends it.

    Each is measured on all dialogues, or on one batch where that is more, and has its best of ``repeats`` times. One
    that does not pay is measured again in turns with the one before, since the machine may have been busier. A batch
    that a summarizer has to halve for want of memory is no faster than the one before, and ends the search as well.
    """
    best, size = 0.0, 1
    before: tuple[list[list[str]], Any] = ([], generation)
    while size <= LARGEST:
        batches = cut(dialogues, size)
        settings = generation.model_copy(update={"batch_size": size})
        try:
            summarizer.summarize(batches[0], generation=settings)
            speed = max(_speed(summarizer, batches, settings) for _ in range(repeats))
            pays = speed >= best * PAYS
            if not pays:
                again = [(_speed(summarizer, *before), _speed(summarizer, batches, settings)) for _ in range(repeats)]
                speed = max(speed, *(own for _, own in again))
                pays = max(own for _, own in again) >= max(other for other, _ in again) * PAYS
        except MemoryError:
            yield Tried(batch_size=size, verdict="does not fit")
            return
        found: dict[str, Any] = {"batch_size": size, "samples_per_second": speed, "peak_mb": peak_mb()}
        if found["peak_mb"] > memory_limit_mb:
            yield Tried(**found, verdict="does not fit")
            return
        if not pays:
            yield Tried(**found, verdict="does not pay")
            return
        yield Tried(**found, verdict="pays")
        best, before, size = speed, (batches, settings), size * 2


def chosen(tried: Sequence[Tried]) -> Tried | None:
    """Return the largest batch size that pays; None where not even one dialogue fits."""
    return next((one for one in reversed(tried) if one.verdict == "pays"), None)


def cut(dialogues: Sequence[str], size: int) -> list[list[str]]:
    """Return the dialogues in batches of one size, the first ones once more where the last would not be full."""
    count = -(-len(dialogues) // size)
    texts = cycle(dialogues)
    return [list(islice(texts, size)) for _ in range(count)]


def _speed(summarizer: Any, batches: Sequence[Sequence[str]], settings: Any) -> float:
    start = time.perf_counter()
    for batch in batches:
        summarizer.summarize(batch, generation=settings)
    return sum(map(len, batches)) / (time.perf_counter() - start)
