"""The processes of a bench: without torch where that is promised, asleep when idle, and never two at work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from yoyak.bench import measure
from yoyak.bench.processes import Turn, Worker, WorkerError, start_workers
from yoyak.bench.run import Subject
from yoyak.bench.variants import export_fp32
from yoyak.params import Generation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
TEXTS = ["#Person1#: 하나", "#Person1#: 둘", "#Person1#: 셋"]
SETTINGS = Generation(num_beams=2, num_return_sequences=2, max_new_tokens=5)


@pytest.fixture(scope="module")
def workers(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Worker]]:
    twin = tmp_path_factory.mktemp("twin") / "bart"
    export_fp32(subject.source, twin)
    folders = {"torch_fp32": subject.source, "onnx_fp32": twin, "exported": subject.folder}
    with start_workers(folders, 2, []) as (started, _):
        yield started
        processes = [worker.process for worker in started.values()]
    assert all(process.returncode is not None for process in processes)


def libraries(worker: Worker) -> str:
    return Path(f"/proc/{worker.process.pid}/maps").read_text()


def ticks(worker: Worker) -> int:
    """Processor time that a process has used, in hundredths of a second."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 100 // os.sysconf("SC_CLK_TCK")


def take_turn(worker: Worker) -> Turn:
    return worker.measure([TEXTS, TEXTS], measure.serving_generation(SETTINGS, 3, 2), tries=1)


def test_onnx_runs_without_torch(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        take_turn(worker)
    assert "libtorch" in libraries(workers["torch_fp32"])
    for name in ("onnx_fp32", "exported"):
        assert "onnxruntime" in libraries(workers[name])
        assert "libtorch" not in libraries(workers[name])
        assert workers[name].startup.loaded_mb < workers["torch_fp32"].startup.loaded_mb / 2


def test_a_turn_reports_its_measurements(workers: dict[str, Worker]) -> None:
    for name, worker in workers.items():
        turn = take_turn(worker)
        assert len(turn.seconds) == 2
        assert turn.samples == 6
        assert 0 < turn.tokens <= 2 * 3 * 5
        assert turn.peak_mb > 50
        assert turn.threads in ((1, 2) if name == "torch_fp32" else (0,))


def test_the_same_model_writes_the_same_texts(workers: dict[str, Worker]) -> None:
    written = {name: worker.summarize(TEXTS, SETTINGS) for name, worker in workers.items()}
    assert written["onnx_fp32"] == written["torch_fp32"]
    assert len(written["exported"]) == len(TEXTS)


def test_an_idle_process_leaves_the_cores_to_others(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        take_turn(worker)
    time.sleep(0.1)
    before = {name: ticks(worker) for name, worker in workers.items()}
    time.sleep(0.5)
    used = {name: ticks(worker) - before[name] for name, worker in workers.items()}
    # A thread that waits by spinning would take up to 50 ticks; what Python does in the background takes one or two.
    assert max(used.values()) < 10, used


class Recorded:
    """A worker whose turns are noted."""

    turns: list[tuple[str, int, int, float, float]]

    def __init__(self, name: str, worker: Worker, turns: list[Any]) -> None:
        self.name, self.worker, self.turns = name, worker, turns

    def measure(self, batches: Any, generation: Generation, tries: int) -> Turn:
        begin = time.perf_counter()
        turn = self.worker.measure(batches, generation, tries)
        self.turns.append((self.name, generation.batch_size, generation.num_beams, begin, time.perf_counter()))
        return turn


def test_the_variants_take_turns_at_each_cell(workers: dict[str, Worker]) -> None:
    log: list[Any] = []
    recorded: Any = {name: Recorded(name, worker, log) for name, worker in workers.items()}
    positions: list[measure.CellKey] = [(1, 1), (2, 2)]
    progress: list[int] = []
    turns = measure.take_turns(recorded, TEXTS, positions, 2, SETTINGS, progress.append)
    names = list(workers)
    first = [(name, *position) for position in positions for name in names]
    second = [(name, *position) for position in positions for name in [*names[1:], names[0]]]
    assert [turn[:3] for turn in log] == first + second
    assert all(earlier[4] <= later[3] for earlier, later in pairwise(log)), "never two at once"
    assert sum(progress) == measure.dialogues_per_round(TEXTS, positions) * len(workers) * 2
    cells = measure.summarize_turns(turns, "torch_fp32")
    assert [(cell.variant, cell.batch_size, cell.beams) for cell in cells] == [
        (name, *position) for name in names for position in positions
    ]
    assert [cell.ratio for cell in cells if cell.variant == "torch_fp32"] == [1.0, 1.0]
    for cell in cells:
        assert 0 < cell.p50_ms <= cell.p95_ms
        assert cell.batches == 2 * (3 if cell.batch_size == 1 else 2)
        assert len(cell.rounds) == 2


def test_a_variant_that_cannot_be_loaded_is_an_error_unless_it_is_optional(tmp_path: Path, subject: Subject) -> None:
    with pytest.raises(WorkerError, match="exported cannot be measured"):
        Worker("exported", tmp_path, 1)
    folders = {"exported": subject.folder, "onnx_fp32": tmp_path}
    with start_workers(folders, 1, ["onnx_fp32"]) as (started, failed):
        assert list(started) == ["exported"]
        assert failed["onnx_fp32"].startswith("onnx_fp32 cannot be measured: ")
    with pytest.raises(WorkerError, match="onnx_fp32 cannot be measured"), start_workers(folders, 1, []):
        pass


def test_the_error_of_a_process_that_ends_quotes_its_last_output(subject: Subject) -> None:
    not_texts: Any = [[3]]
    with closing(Worker("exported", subject.folder, 1)) as worker, pytest.raises(WorkerError, match=r"\(\w+Error: "):
        worker.measure(not_texts, SETTINGS, tries=1)
    with closing(Worker("exported", subject.folder, 1)) as worker:
        worker.process.kill()
        worker.process.wait()
        with pytest.raises(WorkerError, match="killed"):
            worker.measure([TEXTS], SETTINGS, tries=1)
