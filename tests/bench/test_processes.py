"""The processes of a bench: without torch where that is promised, asleep when idle, and never two at work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from yoyak.bench import measure
from yoyak.bench.processes import Worker, WorkerError, started
from yoyak.bench.run import Subject
from yoyak.bench.variants import export_twin
from yoyak.params import Generation

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it looks into /proc")
TEXTS = ["#Person1#: 하나", "#Person1#: 둘", "#Person1#: 셋"]
SETTINGS = Generation(num_beams=2, num_return_sequences=2, max_new_tokens=5)


@pytest.fixture(scope="module")
def workers(subject: Subject, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Worker]]:
    twin = tmp_path_factory.mktemp("twin") / "bart"
    export_twin(subject.source, twin)
    folders = {"torch_fp32": subject.source, "onnx_fp32": twin, "exported": subject.folder}
    with started(folders, 2, []) as (found, _):
        yield found
        processes = [worker.process for worker in found.values()]
    assert all(process.returncode is not None for process in processes)


def libraries(worker: Worker) -> str:
    return Path(f"/proc/{worker.process.pid}/maps").read_text()


def ticks(worker: Worker) -> int:
    """Processor time that a process has used, in hundredths of a second."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 100 // os.sysconf("SC_CLK_TCK")


def ask(worker: Worker) -> dict[str, Any]:
    generation = measure.writing(SETTINGS, 3, 2).model_dump()
    return worker.ask(do="measure", batches=[TEXTS, TEXTS], generation=generation, tries=1)


def test_onnx_runs_without_torch(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        ask(worker)
    assert "libtorch" in libraries(workers["torch_fp32"])
    for name in ("onnx_fp32", "exported"):
        assert "onnxruntime" in libraries(workers[name])
        assert "libtorch" not in libraries(workers[name])
        assert workers[name].started["loaded_mb"] < workers["torch_fp32"].started["loaded_mb"] / 2


def test_a_turn_says_what_it_took(workers: dict[str, Worker]) -> None:
    for name, worker in workers.items():
        found = ask(worker)
        assert len(found["seconds"]) == 2
        assert 0 < found["tokens"] <= 2 * 3 * 5
        assert found["peak_mb"] > 50
        assert found["threads"] in ((1, 2) if name == "torch_fp32" else (0,))


def test_same_model_same_texts(workers: dict[str, Worker]) -> None:
    requests = {"do": "summarize", "dialogues": TEXTS, "generation": SETTINGS.model_dump()}
    written = {name: worker.ask(**requests)["texts"] for name, worker in workers.items()}
    assert written["onnx_fp32"] == written["torch_fp32"]
    assert len(written["exported"]) == len(TEXTS)


def test_an_idle_process_uses_no_processor(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        ask(worker)
    time.sleep(0.1)
    before = {name: ticks(worker) for name, worker in workers.items()}
    time.sleep(0.5)
    assert {name: ticks(worker) - before[name] for name, worker in workers.items()} == dict.fromkeys(workers, 0)


class Recorded:
    """A worker whose turns are noted."""

    turns: list[tuple[str, int, int, float, float]]

    def __init__(self, name: str, worker: Worker, turns: list[Any]) -> None:
        self.name, self.worker, self.turns = name, worker, turns

    def ask(self, **request: Any) -> dict[str, Any]:
        begin = time.perf_counter()
        found = self.worker.ask(**request)
        how = request["generation"]
        self.turns.append((self.name, how["batch_size"], how["num_beams"], begin, time.perf_counter()))
        return found


def test_the_variants_take_turns_at_each_cell(workers: dict[str, Worker]) -> None:
    log: list[Any] = []
    recorded: Any = {name: Recorded(name, worker, log) for name, worker in workers.items()}
    cells, told = [(1, 1), (2, 2)], []
    turns = measure.take_turns(recorded, TEXTS, cells, 2, SETTINGS, told.append)
    names = list(workers)
    first = [(name, *cell) for cell in cells for name in names]
    second = [(name, *cell) for cell in cells for name in [*names[1:], names[0]]]
    assert [turn[:3] for turn in log] == first + second
    assert all(one[4] <= other[3] for one, other in pairwise(log)), "never two at once"
    assert sum(told) == measure.size(TEXTS, cells) * len(workers) * 2
    rows = measure.summarize(turns, "torch_fp32")
    assert [(row["variant"], row["batch_size"], row["beams"]) for row in rows] == [
        (name, *cell) for name in names for cell in cells
    ]
    assert [row["ratio"] for row in rows if row["variant"] == "torch_fp32"] == [1.0, 1.0]
    for row in rows:
        assert 0 < row["p50_ms"] <= row["p95_ms"]
        assert row["batches"] == 2 * (3 if row["batch_size"] == 1 else 2)
        assert len(row["rounds"]) == 2


def test_what_cannot_be_loaded_is_told_or_left_out(tmp_path: Path, subject: Subject) -> None:
    with pytest.raises(WorkerError, match=r"exported cannot be measured: .* is no exported model"):
        Worker("exported", tmp_path, 1)
    folders = {"exported": subject.folder, "onnx_fp32": tmp_path}
    with started(folders, 1, ["onnx_fp32"]) as (found, failed):
        assert list(found) == ["exported"]
        assert failed["onnx_fp32"].startswith("onnx_fp32 cannot be measured: ")
    with pytest.raises(WorkerError, match="onnx_fp32 cannot be measured"), started(folders, 1, []):
        pass


def test_a_process_that_ends_is_one_sentence(subject: Subject) -> None:
    worker = Worker("exported", subject.folder, 1)
    try:
        with pytest.raises(WorkerError, match=r"^The process of exported ended \(KeyError: 'nonsense'\)\.$"):
            worker.ask(do="nonsense")
    finally:
        worker.close()
