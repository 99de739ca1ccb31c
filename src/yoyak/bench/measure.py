"""Measuring the variants side by side: in each round they take turns at each cell, so that all meet the same machine.

A cell is a batch size and a number of beams. Batches are cut from the dialogues in their order, as requests arrive,
and each is a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

import numpy as np

from yoyak.bench.batch_size import make_batches
from yoyak.bench.processes import Turn, Worker, WorkerError
from yoyak.bench.results import BatchSizeResult, Cell
from yoyak.params import Generation

Position = tuple[int, int]
"""Batch size and beams of a cell."""
Turns = dict[str, dict[Position, list[Turn]]]
"""The turns of each variant at each cell."""
THREAD_TRIES = 2
"""How often each number of threads is tried for torch where the gate depends on it."""


def dialogues_per_round(dialogues: Sequence[str], cells: Iterable[Position]) -> int:
    """Return how many dialogues a variant summarizes in one round."""
    return sum(sum(map(len, make_batches(dialogues, batch_size))) for batch_size, _ in cells)


def take_turns(
    workers: Mapping[str, Worker],
    dialogues: Sequence[str],
    cells: Sequence[Position],
    rounds: int,
    generation: Generation,
    on_progress: Callable[[int], object],
    tries: int = 1,
) -> Turns:
    """Return what each turn measured; each round begins with another variant.

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
    """Return the generation settings of a cell: those of params.yaml, but one summary, as a server writes."""
    return generation.model_copy(
        update={"batch_size": batch_size, "num_beams": beams, "num_return_sequences": 1},
    )


def speeds(turns: Sequence[Turn]) -> tuple[float, ...]:
    """Return the samples per second of each round."""
    return tuple(turn.samples_per_second for turn in turns)


def summarize_turns(turns: Turns, reference: str) -> tuple[Cell, ...]:
    """Return each variant's cells: medians of the rounds, and quantiles over all batches.

    Ratios are to the variant ``reference``.
    """
    return tuple(
        _summarize_cell(variant, position, cell_turns, turns.get(reference, {}).get(position))
        for variant, cells in turns.items()
        for position, cell_turns in cells.items()
    )


def _summarize_cell(variant: str, position: Position, turns: list[Turn], reference: list[Turn] | None) -> Cell:
    rounds = speeds(turns)
    milliseconds = 1000 * np.array([second for turn in turns for second in turn.seconds])
    return Cell(
        variant=variant,
        batch_size=position[0],
        beams=position[1],
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
    """Return the batch sizes that were tried in the worker's process; if that is killed, it was out of memory."""
    tried: list[BatchSizeResult] = []
    settings = serving_generation(generation, 1, generation.num_beams)
    try:
        for result in worker.try_batch_sizes(dialogues, settings, repeats=repeats, memory_limit_mb=memory_limit_mb):
            tried.append(result)
            on_result(result)
    except WorkerError:
        if not tried:
            raise
        tried.append(BatchSizeResult(batch_size=2 * tried[-1].batch_size, verdict="out of memory"))
    return tuple(tried)
