"""The batch size to serve with: when the search goes on, and when it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from yoyak.bench import batch_size, memory
from yoyak.bench.batch_size import MAX_BATCH_SIZE, choose_batch_size, make_batches, try_batch_sizes
from yoyak.bench.measure import search_batch_size
from yoyak.bench.processes import Worker
from yoyak.bench.results import BatchSizeResult
from yoyak.bench.run import Subject
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.params import Generation

LETTERS = list("abcdefgh")
GREEDY = Generation(num_beams=1, num_return_sequences=1, max_new_tokens=4)


class Scripted:
    """A summarizer that takes the milliseconds of its script for a batch, and fills the megabytes of another.

    They pass on the clock of `scripted_time` only, so that other work of the machine decides nothing.
    """

    now = 0.0

    def __init__(self, milliseconds: dict[int, float], megabytes: dict[int, int] | None = None) -> None:
        self.milliseconds, self.megabytes = milliseconds, megabytes or {}
        self.batches: list[Sequence[str]] = []

    def summarize(self, dialogues: Sequence[str], *, generation: Generation) -> None:
        assert generation.batch_size == len(dialogues)
        self.batches.append(dialogues)
        if len(dialogues) not in self.milliseconds:
            raise MemoryError
        Scripted.now += self.milliseconds[len(dialogues)] / 1000
        # At the first batch, which is there to warm up.
        held = bytearray(self.megabytes.pop(len(dialogues), 0) * 1_000_000)
        held[:: os.sysconf("SC_PAGE_SIZE")] = b"x" * len(range(0, len(held), os.sysconf("SC_PAGE_SIZE")))


@pytest.fixture
def scripted_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "time", SimpleNamespace(perf_counter=lambda: Scripted.now))


def try_all(summarizer: Any, limit: float = 1e9) -> list[BatchSizeResult]:
    return list(try_batch_sizes(summarizer, LETTERS, GREEDY, repeats=2, memory_limit_mb=limit))


def verdicts(tried: Sequence[BatchSizeResult]) -> list[tuple[int, str]]:
    return [(result.batch_size, result.verdict) for result in tried]


@pytest.mark.usefixtures("scripted_time")
def test_the_search_ends_with_the_first_size_that_is_not_faster() -> None:
    summarizer = Scripted({1: 20, 2: 24, 4: 30, 8: 66, 16: 1})
    tried = try_all(summarizer)
    assert verdicts(tried) == [(1, "faster"), (2, "faster"), (4, "faster"), (8, "not faster")]
    assert choose_batch_size(tried) == tried[2]
    assert tried[0].samples_per_second == pytest.approx(50)
    # After a batch to warm up it had its repeats, and as many again alternating with the one before.
    assert [len(batch) for batch in summarizer.batches][-9:] == [8, 8, 8, 4, 4, 8, 4, 4, 8]


@pytest.mark.usefixtures("scripted_time")
def test_a_size_measured_on_a_busy_machine_is_measured_again() -> None:
    class Disturbed(Scripted):
        """From the first batch of 4 on, something else takes half of the processor's time."""

        def summarize(self, dialogues: Sequence[str], *, generation: Generation) -> None:
            if len(dialogues) == 4:
                self.milliseconds |= {1: 40, 2: 48, 4: 60}
            super().summarize(dialogues, generation=generation)

    tried = try_all(Disturbed({1: 20, 2: 24, 4: 30}))
    assert verdicts(tried) == [(1, "faster"), (2, "faster"), (4, "faster"), (8, "out of memory")]


@pytest.mark.usefixtures("scripted_time")
def test_a_small_gain_is_not_enough() -> None:
    assert verdicts(try_all(Scripted({1: 40, 2: 79}))) == [(1, "faster"), (2, "not faster")]


@pytest.mark.usefixtures("scripted_time")
def test_the_search_ends_with_the_first_size_that_raises_memory_error() -> None:
    tried = try_all(Scripted({1: 20, 2: 20}))
    assert verdicts(tried) == [(1, "faster"), (2, "faster"), (4, "out of memory")]
    assert tried[-1].samples_per_second is None
    assert choose_batch_size(tried) == tried[1]


@pytest.mark.usefixtures("scripted_time")
def test_the_search_ends_with_the_first_size_above_the_limit() -> None:
    memory.reset_peak()
    limit = memory.peak_mb() + 150
    tried = try_all(Scripted({1: 20, 2: 20, 4: 20}, megabytes={2: 50, 4: 300}), limit)
    assert verdicts(tried) == [(1, "faster"), (2, "faster"), (4, "out of memory")]
    assert tried[1].peak_mb and tried[2].peak_mb
    assert tried[1].peak_mb < limit < tried[2].peak_mb


@pytest.mark.usefixtures("scripted_time")
def test_nothing_is_chosen_if_one_dialogue_does_not_fit() -> None:
    assert choose_batch_size(try_all(Scripted({}))) is None


def test_batches_are_of_one_size() -> None:
    assert make_batches(["a", "b", "c"], 2) == [["a", "b"], ["c", "a"]]
    assert make_batches(["a", "b"], 5) == [["a", "b", "a", "b", "a"]]


def test_a_real_model_is_tried_by_doubling(subject: Subject) -> None:
    summarizer = OnnxSummarizer.load(subject.folder, threads=1)
    tried = try_all(summarizer)
    assert [result.batch_size for result in tried] == [2**power for power in range(len(tried))]
    assert [result.verdict for result in tried[:-1]] == ["faster"] * (len(tried) - 1)
    assert tried[-1].verdict == "not faster" or tried[-1].batch_size == MAX_BATCH_SIZE
    assert all(result.samples_per_second and result.peak_mb for result in tried)


def test_a_killed_process_counts_as_out_of_memory(subject: Subject) -> None:
    worker = Worker("exported", subject.folder, 1)
    try:

        def kill(result: BatchSizeResult) -> None:
            if result.batch_size == 2:
                os.kill(worker.process.pid, signal.SIGKILL)
                worker.process.wait()

        tried = search_batch_size(worker, LETTERS, GREEDY, repeats=1, memory_limit_mb=1e9, on_result=kill)
    finally:
        worker.close()
    # What it had answered before its end is still read.
    assert [result.verdict for result in tried[:2]] == ["faster", "faster"]
    assert tried[-1].verdict == "out of memory"
