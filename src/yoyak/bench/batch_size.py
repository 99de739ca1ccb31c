"""The batch size to serve with: doubled as long as throughput rises and memory suffices.

All sizes are trials in one process with one loaded model, so that its memory use is that of a server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

from yoyak.bench.memory import peak_mb
from yoyak.bench.results import BatchSizeResult, Verdict

MIN_SPEEDUP = 1.05
"""Factor by which doubling the batch size must raise the samples per second."""
MAX_BATCH_SIZE = 64
"""Beyond this, higher latency costs clients more than higher throughput gains."""


def try_batch_sizes(
    summarizer: Any, dialogues: Sequence[str], generation: Any, *, repeats: int, memory_limit_mb: float
) -> Iterator[BatchSizeResult]:
    """Yield the result of each batch size from 1 to `MAX_BATCH_SIZE` by doubling, up to the first that fails.

    Each is measured on all dialogues, or on one batch if that is more; the best of ``repeats`` runs counts. One that is
    not faster is measured again, alternating with the previous one, since the machine may have been busy. A batch that
    a summarizer has to halve for lack of memory is not faster than the previous one, and so ends the search as well.
    """
    best, size = 0.0, 1
    previous: tuple[list[list[str]], Any] = ([], generation)
    while size <= MAX_BATCH_SIZE:
        batches = make_batches(dialogues, size)
        settings = generation.model_copy(update={"batch_size": size})
        try:
            summarizer.summarize(batches[0], generation=settings)
            speed = max(_time_batches(summarizer, batches, settings) for _ in range(repeats))
            faster = speed >= best * MIN_SPEEDUP
            if not faster:
                pairs = [
                    (_time_batches(summarizer, *previous), _time_batches(summarizer, batches, settings))
                    for _ in range(repeats)
                ]
                speed = max(speed, *(current for _, current in pairs))
                faster = max(current for _, current in pairs) >= max(before for before, _ in pairs) * MIN_SPEEDUP
        except MemoryError:
            yield BatchSizeResult(batch_size=size, verdict="out of memory")
            return
        peak = peak_mb()
        verdict: Verdict = "out of memory" if peak > memory_limit_mb else "faster" if faster else "not faster"
        yield BatchSizeResult(batch_size=size, verdict=verdict, samples_per_second=speed, peak_mb=peak)
        if verdict != "faster":
            return
        best, previous, size = speed, (batches, settings), size * 2


def choose_batch_size(trials: Sequence[BatchSizeResult]) -> BatchSizeResult | None:
    """Return the largest batch size that was faster than the previous one; None if not even one dialogue fits."""
    return next((result for result in reversed(trials) if result.verdict == "faster"), None)


def make_batches(dialogues: Sequence[str], size: int) -> list[list[str]]:
    """Return the dialogues in full batches; the last batch is filled up with the first dialogues."""
    count = -(-len(dialogues) // size)
    texts = cycle(dialogues)
    return [list(islice(texts, size)) for _ in range(count)]


def _time_batches(summarizer: Any, batches: Sequence[Sequence[str]], settings: Any) -> float:
    """Return the samples per second."""
    start = time.perf_counter()
    for batch in batches:
        summarizer.summarize(batch, generation=settings)
    return sum(map(len, batches)) / (time.perf_counter() - start)
