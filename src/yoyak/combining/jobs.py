"""Running models one after another, each in its own process.

Peak memory is then that of the largest model, and a model that fails or is killed for memory does not affect the
others. Candidates are kept until all models are done, so that after an interruption no finished model runs again.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from yoyak.cpu import cores
from yoyak.errors import UserError
from yoyak.files import read_result, write_json, write_result
from yoyak.params import Generation
from yoyak.process import exit_on_sigterm

ROWS = "rows.jsonl"
"""The dialogues, in the folder where the candidates go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A model that has to write its candidates."""

    name: str
    folder: Path
    """With yoyak.json: a Hugging Face folder or an export."""
    key: str
    """Stem of its files' names; the same model and dialogues have the same key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStats:
    """Time and memory that a model took to write its candidates."""

    seconds: float
    peak_memory_mb: int
    truncated: int
    """Number of dialogues of which the model did not read a part, since they do not fit into its window."""
    read: Mapping[str, int]
    """How many dialogues were read in which way: see `Summaries.read`."""
    resumed: bool = False
    """Whether an earlier, interrupted run wrote them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """How a job ended: with statistics, or with the reason why there are no candidates."""

    job: Job
    stats: JobStats | None = None
    error: str = ""


def run_jobs(jobs: Sequence[Job], work: Path, generation: Generation, *, workers: int) -> Iterator[JobResult]:
    """Yield how each job ended, in that order; ``work`` holds `ROWS` and gets the candidates."""
    context = multiprocessing.get_context("spawn")
    waiting = []
    for job in jobs:
        if candidates_file(work, job).is_file():
            yield JobResult(job=job, stats=replace(_read_stats(work, job), resumed=True))
        else:
            waiting.append(job)
    running: dict[BaseProcess, Job] = {}
    # If the parent is terminated, so are its children.
    with exit_on_sigterm():
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job = waiting.pop(0)
                    arguments = (job, work, generation, workers)
                    process: BaseProcess = context.Process(target=_run_job, args=arguments, name=job.name)
                    process.start()
                    running[process] = job
                wait([process.sentinel for process in running])
                for ended in [process for process in running if not process.is_alive()]:
                    yield _collect(ended, work, running.pop(ended))
        finally:
            for process in running:
                process.terminate()
                process.join()


def candidates_file(work: Path, job: Job) -> Path:
    """Return the path of a job's candidates; the file exists once the job is done."""
    return work / f"{job.key}.jsonl"


def _stats_file(work: Path, job: Job) -> Path:
    return work / f"{job.key}.stats.json"


def _error_file(work: Path, job: Job) -> Path:
    return work / f"{job.key}.error.json"


def _read_stats(work: Path, job: Job) -> JobStats:
    return read_result(_stats_file(work, job), JobStats, command="yoyak combine")


def _run_job(job: Job, work: Path, generation: Generation, workers: int) -> None:
    """Run in the child: write the candidates, or the reason why there are none."""
    try:
        _write_candidates(job, work, generation, workers)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        write_json(_error_file(work, job), " ".join(sentence.split()))
        sys.exit(1)


def _write_candidates(job: Job, work: Path, generation: Generation, workers: int) -> None:
    from yoyak.data.records import read_jsonl
    from yoyak.decoding.candidates import write_candidates
    from yoyak.decoding.summarizer import check_new_tokens, texts_to_read
    from yoyak.serving.loading import load_summarizer

    started = time.perf_counter()
    rows = read_jsonl(work / ROWS)
    summarizer = load_summarizer(job.folder, threads=max(1, cores() // workers))
    check_new_tokens(summarizer, job.name, generation.max_new_tokens)
    print(job.name, file=sys.stderr)
    summaries = summarizer.summarize(texts_to_read(summarizer, rows), generation=generation, progress=True)
    stats = JobStats(
        seconds=round(time.perf_counter() - started, 2),
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        truncated=summaries.truncated,
        read=dict(Counter(summaries.read)),
    )
    write_result(_stats_file(work, job), stats)
    # Written last: this file marks the job as done.
    names = [row.fname for row in rows]
    write_candidates(candidates_file(work, job), zip(names, summaries.candidates, strict=True), summaries.read)


def _collect(process: BaseProcess, work: Path, job: Job) -> JobResult:
    """Return the result of a job whose process has ended. Raises KeyboardInterrupt if that was interrupted."""
    if process.exitcode == 0:
        return JobResult(job=job, stats=_read_stats(work, job))
    if process.exitcode in (130, -2):
        raise KeyboardInterrupt
    error = f"its process ended with exit code {process.exitcode}."
    if process.exitcode == -9:
        error = "its process was killed: most likely the machine's memory does not hold the model."
    path = _error_file(work, job)
    if path.is_file():
        error = str(json.loads(path.read_text(encoding="utf-8")))
        path.unlink()
    return JobResult(job=job, error=error)
