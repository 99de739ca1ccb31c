"""The whole bench of one exported model: the batch size to serve with, the variants side by side, the gate."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from tqdm import tqdm

from yoyak.bench import gate, measure, quality, variants
from yoyak.bench.batch_size import Tried, chosen
from yoyak.bench.processes import Worker, started
from yoyak.bench.variants import EXPORTED, FP32
from yoyak.cpu import cores
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.params.stages import BenchParams
from yoyak.tracking import lineage

PACKAGES = ("onnxruntime", "torch", "transformers")
REFERENCE = "torch_fp32"
"""What speeds are shown as multiples of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The exported model that is measured."""

    name: str
    folder: Path
    source: Path
    """The model in torch that it was made of."""

    @property
    def precision(self) -> str:
        return str(json.loads((self.folder / "onnx.json").read_text(encoding="utf-8"))["precision"])


def run_bench(subject: Subject, dev: Sequence[Dialogue], p: BenchParams) -> dict[str, Any]:
    """Measure and decide, and return all of it as plain values: what bench/figures.json holds.

    Raises UserError where not even one dialogue fits into the memory, or a model cannot be measured.
    """
    texts = [row.dialogue for row in _spread(dev, p.bench.dialogues)]
    threads = p.serving_threads
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folders = dict.fromkeys(variants.TORCH, subject.source) | {EXPORTED: subject.folder}
        names = variants.beside(p.bench.variants, subject.precision)
        if "onnx_fp32" in names:
            folders["onnx_fp32"] = Path(temporary, subject.name)
            variants.export_twin(subject.source, folders["onnx_fp32"])
        tried = _search(subject, texts, p)
        batch_size = _serving_batch(tried, p)
        sizes = {name: variants.megabytes(folders[name]) for name in names}
        optional = [name for name in names if name not in (*FP32, EXPORTED)]
        with started({name: folders[name] for name in names}, threads, optional) as (workers, failed):
            turns, rounds = _measure(workers, texts, batch_size, p)
            compared = _compare(subject, workers, dev, batch_size, p)
            about = {name: {"disk_mb": sizes[name], **worker.started} for name, worker in workers.items()}
    decision = gate.decide(rounds, compared, p.gate, batch_size=batch_size, beams=p.generation.num_beams)
    return {
        "model": subject.name,
        "precision": subject.precision,
        "export_md5": lineage.digest(subject.folder),
        "machine": machine(),
        "dialogues": len(texts),
        "repeats": p.bench.repeats,
        "max_new_tokens": p.generation.max_new_tokens,
        "variants": about,
        "failed": failed,
        "cells": measure.summarize(turns, REFERENCE),
        "search": {
            "batch_size": batch_size,
            "beams": p.generation.num_beams,
            "given": p.serving_batch_size != "bench",
            "memory_limit_mb": p.bench.memory_limit_mb,
            "tried": [asdict(one) for one in tried],
        },
        "rounds": rounds,
        "quality": compared,
        "gate": {"passed": decision.passed, "conditions": [asdict(one) for one in decision.conditions]},
        "gate_figures": decision.figures(),
        "ops": quality.read_ops(subject.folder),
    }


def machine() -> dict[str, Any]:
    """Return what the figures hold for: processor, cores, system, versions."""
    return {
        "processor": _processor(),
        "cores": cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "host": platform.node(),
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in PACKAGES},
    }


def _search(subject: Subject, texts: Sequence[str], p: BenchParams) -> list[Tried]:
    """Search in a process of its own, whose memory is that of a server."""
    with tqdm(desc="batch size", unit=" size") as bar:

        def notify(tried: Tried) -> None:
            bar.set_postfix_str(f"{tried.batch_size} {tried.verdict}")
            bar.update()

        worker = Worker(EXPORTED, subject.folder, p.serving_threads)
        try:
            limit = p.bench.memory_limit_mb
            return measure.search(worker, texts, p.generation, p.bench.repeats, limit, notify)
        finally:
            worker.close()


def _serving_batch(tried: Sequence[Tried], p: BenchParams) -> int:
    if p.serving_batch_size != "bench":
        return int(p.serving_batch_size)
    best = chosen(tried)
    if best is None:
        needed = f"{tried[0].peak_mb:.0f} MB" if tried[0].peak_mb else "more than there is"
        raise UserError(
            f"bench.memory_limit_mb is {p.bench.memory_limit_mb}, and one dialogue at a time needs {needed}: raise it."
        )
    return best.batch_size


def _measure(
    workers: Mapping[str, Worker], texts: Sequence[str], batch_size: int, p: BenchParams
) -> tuple[measure.Turns, dict[str, list[float]]]:
    """Return the turns of every cell, and the speeds that the gate decides by, of each round at the serving batch."""
    cells = [(size, beams) for beams in p.bench.beams for size in sorted(p.bench.batch_sizes)]
    served = (batch_size, p.generation.num_beams)
    rivals = {name: worker for name, worker in workers.items() if name in (*FP32, EXPORTED)}
    deciding = max(p.bench.repeats, gate.rounds_needed(p.gate.confidence))
    everything = measure.size(texts, cells) * len(workers) * p.bench.repeats
    total = everything + measure.size(texts, [served]) * len(rivals) * deciding
    with tqdm(total=total, desc="measuring", unit="dialogue") as bar:
        turns = measure.take_turns(workers, texts, cells, p.bench.repeats, p.generation, bar.update)
        found = measure.take_turns(rivals, texts, [served], deciding, p.generation, bar.update, tries=measure.CAREFUL)
    return turns, {name: measure.speeds(cells[served]) for name, cells in found.items()}


def _compare(
    subject: Subject, workers: Mapping[str, Worker], dev: Sequence[Dialogue], batch_size: int, p: BenchParams
) -> dict[str, Any]:
    """Compare all of dev, as it will be served, with what fp32 wrote in the evaluation, or writes now."""
    generation = p.generation.model_copy(update={"batch_size": batch_size})
    dialogues = [row.dialogue for row in dev]

    def write(worker: Worker) -> list[str]:
        return list(worker.ask(do="summarize", dialogues=dialogues, generation=generation.model_dump())["texts"])

    own = write(workers[EXPORTED])
    other = evaluated = quality.evaluated_texts(subject.name, dev, p.generation)
    if other is None:
        rival = next((name for name in reversed(FP32) if name in workers), None)
        if rival is None:
            worker = Worker(REFERENCE, subject.source, p.serving_threads)
            try:
                other = write(worker)
            finally:
                worker.close()
        else:
            other = write(workers[rival])
    compared = quality.compare(own, other, dev, p.scoring, confidence=p.gate.confidence, seed=p.seed)
    return {"fp32": "predictions of the pipeline" if evaluated else "written by the bench", **compared}


def _spread(dev: Sequence[Dialogue], count: int) -> list[Dialogue]:
    """Return dialogues from all over dev, in its order."""
    if count >= len(dev):
        return list(dev)
    return [dev[place * len(dev) // count] for place in range(count)]


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or os.uname().machine
