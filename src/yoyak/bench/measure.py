"""Measuring the variants side by side: they take turns, so that changes in machine load affect all of them alike.

A cell is a batch size and a number of beams. Dialogues are batched in their order, as requests arrive, and each batch
is one call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

import numpy as np

from yoyak.bench.batch_size import make_batches
from yoyak.bench.processes import Turn, Worker, WorkerError
from yoyak.bench.results import BatchSizeResult, Cell
from yoyak.params import Generation

CellKey = tuple[int, int]
"""Batch size and beams of a cell."""
Turns = dict[str, dict[CellKey, list[Turn]]]
"""The turns of each variant at each cell."""
THREAD_TRIES = 2
"""How often each torch thread count is timed where the gate depends on it."""


def dialogues_per_round(dialogues: Sequence[str], cells: Iterable[CellKey]) -> int:
    """Return how many dialogues a variant summarizes in one round."""
    return sum(sum(map(len, make_batches(dialogues, batch_size))) for batch_size, _ in cells)


def take_turns(
    workers: Mapping[str, Worker],
    dialogues: Sequence[str],
    cells: Sequence[CellKey],
    rounds: int,
    generation: Generation,
    on_progress: Callable[[int], object],
    tries: int = 1,
) -> Turns:
    """Return the measurements of each turn; each round begins with a different variant.

    ``on_progress`` is called with the number of dialogues that a turn has summarized.
    """
    names = list(workers)
    turns: Turns = {name: {cell: [] for cell in cells} for name in names}
    for number in range(rounds):
        first = number % len(names)
        for batch_size, beams in cells:
            batches = make_batches(dialogues, batch_size)
            settings = serving_generation(generation, batch_size, beams)
            for name in [*names[first:], *names[:first]]:
                turn = workers[name].measure(batches, settings, tries)
                turns[name][batch_size, beams].append(turn)
                on_progress(turn.samples)
    return turns


def serving_generation(generation: Generation, batch_size: int, beams: int) -> Generation:
    """Return the generation settings of a cell: those of params.yaml with a single summary, as in serving."""
    return generation.model_copy(
        update={"batch_size": batch_size, "num_beams": beams, "num_return_sequences": 1},
    )


def speeds(turns: Sequence[Turn]) -> tuple[float, ...]:
    """Return the samples per second of each round."""
    return tuple(turn.samples_per_second for turn in turns)


def summarize_turns(turns: Turns, reference: str) -> tuple[Cell, ...]:
    """Return each variant's cells: medians of the rounds, and latency quantiles over all batches.

    Ratios are relative to the variant ``reference``.
    """
    return tuple(
        _summarize_cell(variant, key, cell_turns, turns.get(reference, {}).get(key))
        for variant, cells in turns.items()
        for key, cell_turns in cells.items()
    )


def _summarize_cell(variant: str, key: CellKey, turns: list[Turn], reference: list[Turn] | None) -> Cell:
    rounds = speeds(turns)
    milliseconds = 1000 * np.array([second for turn in turns for second in turn.seconds])
    return Cell(
        variant=variant,
        batch_size=key[0],
        beams=key[1],
        samples_per_second=median(rounds),
        rounds=rounds,
        ratio=median(a / b for a, b in zip(rounds, speeds(reference), strict=True)) if reference else None,
        p50_ms=float(np.quantile(milliseconds, 0.5)),
        p95_ms=float(np.quantile(milliseconds, 0.95)),
        batches=len(milliseconds),
        tokens_per_sample=turns[0].tokens / turns[0].samples,
        peak_mb=max(turn.peak_mb for turn in turns),
        threads=turns[0].threads or None,
    )


def search_batch_size(
    worker: Worker,
    dialogues: Sequence[str],
    generation: Generation,
    *,
    repeats: int,
    memory_limit_mb: float,
    on_result: Callable[[BatchSizeResult], object],
) -> tuple[BatchSizeResult, ...]:
    """Try batch sizes in the worker's process; if that is killed, the last batch size ran out of memory."""
    trials: list[BatchSizeResult] = []
    settings = serving_generation(generation, 1, generation.num_beams)
    try:
        for result in worker.try_batch_sizes(dialogues, settings, repeats=repeats, memory_limit_mb=memory_limit_mb):
            trials.append(result)
            on_result(result)
    except WorkerError:
        if not trials:
            raise
        trials.append(BatchSizeResult(batch_size=2 * trials[-1].batch_size, verdict="out of memory"))
    return tuple(trials)
