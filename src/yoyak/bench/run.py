"""The whole bench of one exported model: the batch size to serve with, the variants side by side, the gate."""

from __future__ import annotations

import json
import os
import platform
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from tqdm import tqdm

from yoyak.bench import gate, measure, quality, variants
from yoyak.bench.batch_size import choose_batch_size
from yoyak.bench.processes import Worker, start_workers
from yoyak.bench.results import BatchSizeResult, BatchSizeSearch, BenchResult, Fp32Source, Machine
from yoyak.bench.variants import EXPORTED, FP32
from yoyak.cpu import cores
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.export.calibration import spread
from yoyak.models.spec import load_spec
from yoyak.models.steps import add_topics
from yoyak.params import Bench, Generation
from yoyak.params.stages import BenchParams
from yoyak.tracking import lineage

REFERENCE = "torch_fp32"
"""The variant that speeds are reported as multiples of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The exported model that is measured."""

    name: str
    folder: Path
    source: Path
    """The torch model that it was exported from."""

    @property
    def precision(self) -> str:
        return str(json.loads((self.folder / "onnx.json").read_text(encoding="utf-8"))["precision"])


def run_bench(subject: Subject, dev: Sequence[Dialogue], params: BenchParams) -> BenchResult:
    """Measure the exported model beside the other variants, and decide whether it should be served.

    Raises UserError if not even one dialogue fits into ``bench.memory_limit_mb``, or a model cannot be measured.
    """
    generation, threads = params.generation, params.serving_threads
    texts = _texts(subject, spread(dev, params.bench.dialogues))
    configured = None if params.serving_batch_size == "bench" else params.serving_batch_size
    search = _search_batch_size(subject, texts, params.bench, generation, threads, configured)
    serving = generation.model_copy(update={"batch_size": search.batch_size})
    with _prepare_folders(subject, params.bench.variants) as folders:
        optional = [name for name in folders if name not in (*FP32, EXPORTED)]
        with start_workers(folders, threads, optional) as (workers, failed):
            turns, rounds = _measure(workers, texts, params.bench, params.gate.confidence, serving)
            exported, fp32, source = _write_summaries(subject, workers, dev, generation, serving, threads)
            startups = {name: worker.startup for name, worker in workers.items()}
    compared = quality.compare(
        exported, fp32, dev, params.scoring, fp32_source=source, confidence=params.gate.confidence, seed=params.seed
    )
    decision = gate.decide(rounds, compared, params.gate, batch_size=search.batch_size, beams=generation.num_beams)
    return BenchResult(
        model=subject.name,
        precision=subject.precision,
        export_md5=lineage.digest(subject.folder),
        machine=describe_machine(),
        dialogues=len(texts),
        repeats=params.bench.repeats,
        max_new_tokens=generation.max_new_tokens,
        variants=startups,
        failed=failed,
        cells=measure.summarize_turns(turns, REFERENCE),
        search=search,
        rounds=rounds,
        quality=compared,
        gate=decision,
        float_operators=quality.read_float_operators(subject.folder),
    )


def describe_machine() -> Machine:
    """Return the processor, cores, system and library versions that the figures hold for."""
    return Machine(
        processor=_read_processor_name(),
        cores=cores(),
        system=f"{platform.system()} {platform.machine()}",
        host=platform.node(),
        python=platform.python_version(),
        onnxruntime=metadata.version("onnxruntime"),
        torch=metadata.version("torch"),
        transformers=metadata.version("transformers"),
    )


def _search_batch_size(
    subject: Subject,
    texts: Sequence[str],
    settings: Bench,
    generation: Generation,
    threads: int,
    configured: int | None,
) -> BatchSizeSearch:
    """Search in a separate process, whose memory use is that of a server."""
    with (
        tqdm(desc="batch size", unit=" size") as bar,
        closing(Worker(EXPORTED, subject.folder, threads)) as worker,
    ):

        def show_progress(result: BatchSizeResult) -> None:
            bar.set_postfix_str(f"{result.batch_size} {result.verdict}")
            bar.update()

        trials = measure.search_batch_size(
            worker,
            texts,
            generation,
            repeats=settings.repeats,
            memory_limit_mb=settings.memory_limit_mb,
            on_result=show_progress,
        )
    best = choose_batch_size(trials)
    if configured is None and best is None:
        needed = f"{trials[0].peak_mb:.0f} MB" if trials[0].peak_mb else "more memory than there is"
        raise UserError(
            f"bench.memory_limit_mb is {settings.memory_limit_mb}, but one dialogue at a time needs {needed}: raise it."
        )
    return BatchSizeSearch(
        batch_size=configured or (best.batch_size if best else 1),
        beams=generation.num_beams,
        configured=configured is not None,
        memory_limit_mb=settings.memory_limit_mb,
        tried=trials,
    )


@contextmanager
def _prepare_folders(subject: Subject, compared: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Yield the folder of each variant to measure; that of ``onnx_fp32`` is temporary."""
    names = variants.list_measured(compared, subject.precision)
    folders = dict.fromkeys(variants.TORCH, subject.source) | {EXPORTED: subject.folder}
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        if "onnx_fp32" in names:
            folders["onnx_fp32"] = Path(temporary, subject.name)
            variants.export_fp32(subject.source, folders["onnx_fp32"])
        yield {name: folders[name] for name in names}


def _measure(
    workers: Mapping[str, Worker], texts: Sequence[str], settings: Bench, confidence: float, serving: Generation
) -> tuple[measure.Turns, dict[str, tuple[float, ...]]]:
    """Return the turns of every cell, and the speeds that decide the gate: those of each round at the serving batch."""
    cells = [(size, beams) for beams in settings.beams for size in sorted(settings.batch_sizes)]
    serving_cell = (serving.batch_size, serving.num_beams)
    contenders = {name: worker for name, worker in workers.items() if name in (*FP32, EXPORTED)}
    gate_rounds = max(settings.repeats, gate.rounds_needed(confidence))
    total = measure.dialogues_per_round(texts, cells) * len(workers) * settings.repeats
    total += measure.dialogues_per_round(texts, [serving_cell]) * len(contenders) * gate_rounds
    with tqdm(total=total, desc="measuring", unit="dialogue") as bar:
        turns = measure.take_turns(workers, texts, cells, settings.repeats, serving, bar.update)
        gate_turns = measure.take_turns(
            contenders, texts, [serving_cell], gate_rounds, serving, bar.update, tries=measure.THREAD_TRIES
        )
    return turns, {name: measure.speeds(cells[serving_cell]) for name, cells in gate_turns.items()}


def _write_summaries(
    subject: Subject,
    workers: Mapping[str, Worker],
    dev: Sequence[Dialogue],
    generation: Generation,
    serving: Generation,
    threads: int,
) -> tuple[list[str], list[str], Fp32Source]:
    """Return the summaries of dev by the exported model as served, those by fp32, and where the latter come from."""
    dialogues = _texts(subject, dev)
    exported = workers[EXPORTED].summarize(dialogues, serving)
    evaluated = quality.read_evaluated_texts(subject.name, dev, generation)
    if evaluated is not None:
        return exported, evaluated, "predictions of the pipeline"
    fp32_worker = next((workers[name] for name in reversed(FP32) if name in workers), None)
    if fp32_worker is not None:
        return exported, fp32_worker.summarize(dialogues, serving), "written by the bench"
    with closing(Worker(REFERENCE, subject.source, threads)) as worker:
        return exported, worker.summarize(dialogues, serving), "written by the bench"


def _texts(subject: Subject, rows: Sequence[Dialogue]) -> list[str]:
    """Return the dialogues as the model is given them."""
    steps = load_spec(subject.folder).preprocessing
    return add_topics([row.dialogue for row in rows], [row.topic for row in rows], steps)


def _read_processor_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or os.uname().machine
