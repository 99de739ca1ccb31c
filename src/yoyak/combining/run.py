"""Summarizing any file with several models and combining their summaries.

Writes ensemble_output_<time>.csv, individual_model_<i>_<time>.csv and ensemble_metadata_<time>.json.
"""

from __future__ import annotations

import csv
import hashlib
import shutil
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from yoyak.combining.combiner import build_combiner
from yoyak.combining.jobs import ROWS, Job, JobResult, JobStats, candidates_file, run_jobs
from yoyak.combining.results import (
    ENSEMBLE,
    CombinationMetadata,
    CombinedModel,
    InputFile,
    SkippedModel,
    score_texts,
)
from yoyak.combining.sources import Source, open_sources
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.ensemble.combine import Combiner, combine_all
from yoyak.ensemble.info import describe_combiner
from yoyak.ensemble.pool import Outcome, read_rows
from yoyak.errors import UserError
from yoyak.files import atomic_path, write_result
from yoyak.params import Generation, Scoring
from yoyak.params.ensemble import OfCandidates
from yoyak.tracking import lineage

LOCK, PARTIAL = ".lock", ".partial"
"""In the output folder: the lock of the command that writes there, and the candidates until all models are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the models are combined."""

    strategy: OfCandidates
    granularity: str
    generation: Generation
    scoring: Scoring
    min_members: int
    parallel: bool
    weights: Sequence[float] | None
    """In the order of the models; None uses those of the strategy."""
    seed: int
    fitted: Combiner | None = None
    """What the pipeline fitted, for a strategy that learns from dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedModel:
    """A model that has written its candidates."""

    source: Source
    candidates: Path
    stats: JobStats


def combine_models(uris: Sequence[str], rows: Sequence[Dialogue], source: str, out: Path, options: Options) -> Path:
    """Summarize ``rows`` with every model and combine them; return the file with the ensemble's summaries.

    Models that are missing or broken are named on stderr, listed in the metadata and left out. Raises UserError where
    fewer than ``min_members`` remain.
    """
    if options.weights is not None and len(options.weights) != len(uris):
        raise UserError(f"--weights has {len(options.weights)} numbers for {len(uris)} models: give one for each.")
    if out.exists() and not out.is_dir():
        raise UserError(f"--output {out} is a file: name a folder.")
    sources, skipped = _open_models(uris)
    # Check everything that can be checked before the models run.
    _check_enough(list(sources), options)
    _make_combiner(list(sources), sources, options)
    out.mkdir(parents=True, exist_ok=True)
    with _lock_folder(out):
        work = out / PARTIAL
        work.mkdir(exist_ok=True)
        write_jsonl(work / ROWS, rows)
        finished = _run_models(sources, skipped, work, options)
        _check_enough(list(finished), options)
        final = _combine_files(finished, skipped, rows, source, out, options)
        shutil.rmtree(work)
    return final


@contextmanager
def _lock_folder(out: Path) -> Iterator[None]:
    """Lock the folder, since a second command would write the same candidates."""
    lock = FileLock(out / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(
            f"another `yoyak combine` is writing to {out}: wait for it, or choose another --output."
        ) from None
    try:
        yield
    finally:
        lock.release()
        (out / LOCK).unlink(missing_ok=True)


def _open_models(uris: Sequence[str]) -> tuple[dict[str, Source], list[SkippedModel]]:
    """Return the models by label, and those that cannot be used; the same model under two names is used once."""
    sources: dict[str, Source] = {}
    skipped: list[SkippedModel] = []
    labels: dict[str, str] = {}
    for index, (uri, source) in enumerate(open_sources(uris)):
        if isinstance(source, UserError):
            skipped.append(_skip(uri, str(source)))
            continue
        md5 = lineage.digest(source.folder)
        if md5 in labels:
            skipped.append(_skip(uri, f"it is the same model as {labels[md5]}."))
            continue
        labels[md5] = _unique_label(source.label, sources)
        sources[labels[md5]] = replace(source, label=labels[md5], md5=md5, index=index)
    return sources, skipped


def _run_models(
    sources: Mapping[str, Source], skipped: list[SkippedModel], work: Path, options: Options
) -> dict[str, FinishedModel]:
    """Let every model write its candidates; return those that have, in order, and add the others to ``skipped``."""
    salt = lineage.digest(work / ROWS) + options.generation.model_dump_json()
    jobs = [Job(name=name, folder=source.folder, key=_md5(salt + source.md5)) for name, source in sources.items()]
    results: dict[str, JobResult] = {}
    for result in run_jobs(jobs, work, options.generation, workers=len(jobs) if options.parallel else 1):
        results[result.job.name] = result
        if result.error:
            skipped.append(_skip(result.job.name, result.error))
    return {
        job.name: FinishedModel(source=sources[job.name], candidates=candidates_file(work, job), stats=stats)
        for job in jobs
        if (stats := results[job.name].stats) is not None
    }


def _combine_files(
    finished: Mapping[str, FinishedModel],
    skipped: Sequence[SkippedModel],
    rows: Sequence[Dialogue],
    source: str,
    out: Path,
    options: Options,
) -> Path:
    """Combine the candidates of the models and write all files; return the one with the ensemble's summaries."""
    members = list(finished)
    dialogues = out / PARTIAL / ROWS
    combiner = _make_combiner(members, {name: model.source for name, model in finished.items()}, options)
    files = {name: model.candidates for name, model in finished.items()}
    started = time.perf_counter()
    outcomes = list(combine_all(combiner, read_rows(dialogues, files), total=len(rows)))
    seconds = time.perf_counter() - started
    texts = {name: [row.best(name) for row in read_rows(dialogues, {name: files[name]})] for name in members}
    combined = [outcome.text for outcome in outcomes]
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S")
    individual = {name: out / f"individual_model_{number}_{stamp}.csv" for number, name in enumerate(members, 1)}
    for name, path in individual.items():
        _write_csv(path, rows, texts[name])
    final = out / f"ensemble_output_{stamp}.csv"
    _write_csv(final, rows, combined)
    metadata = CombinationMetadata(
        created=datetime.now().astimezone().isoformat(timespec="seconds"),
        input=InputFile(file=source, dialogues=len(rows), md5=lineage.digest(dialogues)),
        output=final.name,
        combiner=describe_combiner(combiner),
        strategy=options.strategy.model_dump(),
        generation=options.generation.model_dump(),
        models=[_describe_model(name, finished[name], individual[name], outcomes) for name in members],
        errors=skipped,
        scores=score_texts(
            rows,
            {ENSEMBLE: combined, **texts},
            granularity=options.granularity,
            scoring=options.scoring,
            seed=options.seed,
        ),
        seconds_to_combine=round(seconds, 2),
        versions=lineage.versions(),
    )
    write_result(out / f"ensemble_metadata_{stamp}.json", metadata)
    return final


def _describe_model(name: str, model: FinishedModel, file: Path, outcomes: Iterable[Outcome]) -> CombinedModel:
    return CombinedModel(
        member=name,
        uri=model.source.uri,
        md5=model.source.md5,
        origin=model.source.origin,
        file=file.name,
        chosen=sum(outcome.member == name for outcome in outcomes),
        seconds=model.stats.seconds,
        peak_memory_mb=model.stats.peak_memory_mb,
        truncated=model.stats.truncated,
        read=model.stats.read,
        resumed=model.stats.resumed,
    )


def _make_combiner(members: Sequence[str], sources: Mapping[str, Source], options: Options) -> Combiner:
    return build_combiner(
        members,
        sources,
        strategy=options.strategy,
        granularity=options.granularity,
        given=options.weights,
        fitted=options.fitted,
    )


def _unique_label(label: str, taken: Iterable[str]) -> str:
    """Return the label, with a number appended if another model has it."""
    unique, number, known = label, 1, set(taken)
    while unique in known:
        number += 1
        unique = f"{label} ({number})"
    return unique


def _skip(model: str, error: str) -> SkippedModel:
    print(f"skipped {model}: {error}", file=sys.stderr)
    return SkippedModel(model=model, error=error)


def _check_enough(members: Sequence[str], options: Options) -> None:
    if not members:
        raise UserError(
            "no model can be used; train some with `dvc repro` (or one with `yoyak train bart`), then name "
            "models:/yoyak-bart@champion or models/bart."
        )
    if len(members) < options.min_members:
        raise UserError(
            f"only {', '.join(members)} can be used and {options.min_members} are needed: fix the others, or go on "
            f"with --min-members {len(members)}."
        )


def _write_csv(path: Path, rows: Sequence[Dialogue], texts: Sequence[str]) -> None:
    with atomic_path(path) as work, work.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["fname", "summary"])
        writer.writerows((row.fname, text) for row, text in zip(rows, texts, strict=True))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
