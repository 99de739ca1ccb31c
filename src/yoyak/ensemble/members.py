"""Letting models write their candidates one after another, each in a process of its own.

The peak of memory is then that of the largest model, and a model that breaks, or is killed for memory, takes nobody
along. What a model has written is kept until all is done: after an interruption it is not asked again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.params import Generation
from yoyak.process import exit_on_sigterm

ROWS = "rows.jsonl"
"""The dialogues, in the folder where the candidates go."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A model that is to write its candidates."""

    name: str
    folder: Path
    """Hugging Face folder with yoyak.json."""
    key: str
    """What the files are called; the same model and dialogues have the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of a job."""

    job: Job
    error: str = ""
    """Why there are no candidates; empty where there are."""
    facts: Mapping[str, Any]
    """``seconds``, ``peak_memory_mb``, ``truncated`` dialogues, ``resumed``."""


def run_jobs(jobs: Sequence[Job], work: Path, generation: Generation, *, workers: int) -> Iterator[Result]:
    """Yield what became of each job, in the order in which they end; ``work`` holds `ROWS` and gets the candidates."""
    context = multiprocessing.get_context("spawn")
    waiting = []
    for job in jobs:
        if candidates_file(work, job).is_file():
            yield Result(job=job, facts={**_facts(work, job), "resumed": True})
        else:
            waiting.append(job)
    running: dict[BaseProcess, Job] = {}
    # A parent that is told to end takes its children along.
    with exit_on_sigterm():
        try:
            while waiting or running:
                while waiting and len(running) < workers:
                    job = waiting.pop(0)
                    arguments = (job, work, generation, workers)
                    process: BaseProcess = context.Process(target=_write, args=arguments, name=job.name)
                    process.start()
                    running[process] = job
                wait([process.sentinel for process in running])
                for ended in [process for process in running if not process.is_alive()]:
                    job = running.pop(ended)
                    yield Result(job=job, error=_error(ended, work, job), facts=_facts(work, job))
        finally:
            for left in running:
                left.terminate()
                left.join()


def candidates_file(work: Path, job: Job) -> Path:
    """Return where a job's candidates are once it is done."""
    return work / f"{job.key}.jsonl"


def _write(job: Job, work: Path, generation: Generation, workers: int) -> None:
    """Run in the child: write the candidates, or say why there are none."""
    try:
        _summarize(job, work, generation, workers)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        sentence = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        write_json(work / f"{job.key}.error.json", " ".join(sentence.split()))
        sys.exit(1)


def _summarize(job: Job, work: Path, generation: Generation, workers: int) -> None:
    import torch

    from yoyak.data.records import read_jsonl
    from yoyak.decoding.candidates import write_candidates
    from yoyak.decoding.summarizer import check_new_tokens
    from yoyak.decoding.torch import TorchSummarizer

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    started = time.perf_counter()
    rows = read_jsonl(work / ROWS)
    summarizer = TorchSummarizer.load(job.folder)
    check_new_tokens(summarizer, job.name, generation.max_new_tokens)
    print(job.name, file=sys.stderr)
    summaries = summarizer.summarize([row.dialogue for row in rows], generation=generation, progress=True)
    facts = {
        "seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "truncated": summaries.truncated,
    }
    write_json(work / f"{job.key}.facts.json", facts)
    write_candidates(candidates_file(work, job), zip([row.fname for row in rows], summaries.candidates, strict=True))


def _facts(work: Path, job: Job) -> dict[str, Any]:
    path = work / f"{job.key}.facts.json"
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def _error(process: BaseProcess, work: Path, job: Job) -> str:
    if process.exitcode == 0:
        return ""
    if process.exitcode in (130, -2):
        raise KeyboardInterrupt
    path = work / f"{job.key}.error.json"
    if path.is_file():
        sentence = str(json.loads(path.read_text(encoding="utf-8")))
        path.unlink()
        return sentence
    if process.exitcode == -9:
        return "its process was killed: most likely the machine's memory does not hold the model."
    return f"its process ended with exit code {process.exitcode}."
