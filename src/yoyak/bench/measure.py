"""Measuring the variants side by side: in each round they take turns at each cell, so that all meet the same machine.

A cell is a batch size and a number of beams. Batches are cut from the dialogues in their order, as requests come, and
each is a call of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np

from yoyak.bench.batch_size import Tried, cut
from yoyak.bench.processes import Worker, WorkerError
from yoyak.params import Generation

Cell = tuple[int, int]
"""Batch size and beams."""
Turns = dict[str, dict[Cell, list[dict[str, Any]]]]
"""What each turn of a variant at a cell gave."""
Notify = Callable[[int], Any]
"""Told how many dialogues have been summarized."""
CAREFUL = 2
"""Times that each number of threads is tried for torch where the gate depends on it."""


def size(dialogues: Sequence[str], cells: Iterable[Cell]) -> int:
    """Return how many dialogues a variant summarizes in one round."""
    return sum(sum(map(len, cut(dialogues, batch))) for batch, _ in cells)


def take_turns(
    workers: Mapping[str, Worker],
    dialogues: Sequence[str],
    cells: Sequence[Cell],
    rounds: int,
    generation: Generation,
    notify: Notify,
    tries: int = 1,
) -> Turns:
    """Return what each turn measured. The variant that begins is another one in each round."""
    names = list(workers)
    turns: Turns = {name: {cell: [] for cell in cells} for name in names}
    for number in range(rounds):
        begin = number % len(names)
        for cell in cells:
            batches = cut(dialogues, cell[0])
            settings = writing(generation, *cell).model_dump()
            for name in [*names[begin:], *names[:begin]]:
                found = workers[name].ask(do="measure", batches=batches, generation=settings, tries=tries)
                turns[name][cell].append({**found, "samples": sum(map(len, batches))})
                notify(sum(map(len, batches)))
    return turns


def writing(generation: Generation, batch_size: int, beams: int) -> Generation:
    """Return how to write in a cell: as the params say, with its beams, and one summary, as a server does."""
    return generation.model_copy(
        update={"batch_size": batch_size, "num_beams": beams, "num_return_sequences": 1},
    )


def speeds(turns: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the samples per second of each round."""
    return [turn["samples"] / sum(turn["seconds"]) for turn in turns]


def summarize(turns: Turns, reference: str) -> list[dict[str, Any]]:
    """Return a row for each variant and cell: the median of the rounds, and quantiles over all batches.

    ``ratio`` is the speed as a multiple of that of the variant ``reference``, in the median of the rounds; None where
    that was not measured.
    """
    rows = []
    for variant, cells in turns.items():
        for (batch_size, beams), found in cells.items():
            own = speeds(found)
            other = speeds(turns[reference][batch_size, beams]) if reference in turns else []
            milliseconds = 1000 * np.array([second for turn in found for second in turn["seconds"]])
            rows.append(
                {
                    "variant": variant,
                    "batch_size": batch_size,
                    "beams": beams,
                    "samples_per_second": median(own),
                    "rounds": own,
                    "ratio": median(one / two for one, two in zip(own, other, strict=True)) if other else None,
                    "p50_ms": float(np.quantile(milliseconds, 0.5)),
                    "p95_ms": float(np.quantile(milliseconds, 0.95)),
                    "batches": len(milliseconds),
                    "tokens_per_sample": found[0]["tokens"] / found[0]["samples"],
                    "peak_mb": max(turn["peak_mb"] for turn in found),
                    "threads": found[0]["threads"] or None,
                }
            )
    return rows


def search(
    worker: Worker,
    dialogues: Sequence[str],
    generation: Generation,
    repeats: int,
    memory_limit_mb: float,
    notify: Callable[[Tried], Any],
) -> list[Tried]:
    """Return the batch sizes that were tried in the worker's process; its end is a batch size that does not fit."""
    tried: list[Tried] = []
    settings = writing(generation, 1, generation.num_beams).model_dump()
    replies = worker.replies(
        do="search", dialogues=list(dialogues), generation=settings, repeats=repeats, memory_limit_mb=memory_limit_mb
    )
    try:
        for reply in replies:
            if "done" in reply:
                break
            tried.append(Tried(**reply["tried"]))
            notify(tried[-1])
    except WorkerError:
        if not tried:
            raise
        tried.append(Tried(batch_size=2 * tried[-1].batch_size, verdict="does not fit"))
    return tried
