"""Summarizing any number of dialogues into a folder, and going on where an earlier run was interrupted.

score(
    "models:/yoyak@serving", "s3://bucket/dialogues/*.parquet", "s3://bucket/summaries",
    data, Options(engine="local"),
)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Literal

from yoyak import params
from yoyak.batch_scoring.manifest import (
    Manifest,
    Setup,
    find_differences,
    load_manifest,
    model_digests,
    save_manifest,
)
from yoyak.batch_scoring.results import (
    REJECTED,
    SUCCESS,
    PartResult,
    find_done,
    part_name,
    remove_results,
    remove_unfinished,
)
from yoyak.batch_scoring.sources import Part, columns_to_read, find_sources, plan_parts
from yoyak.batch_scoring.storage import FoundFile, Storage, delete, list_names, lock_folder, open_storage, write_whole
from yoyak.batch_scoring.worker import Job
from yoyak.bundles.resolve import resolve_model
from yoyak.cpu import cores
from yoyak.errors import UserError
from yoyak.models.spec import SPEC_FILE, load_spec
from yoyak.models.steps import TOPIC
from yoyak.serving.target import Target, open_target

Engine = Literal["local", "spark"]
PART_ROWS = 1000
"""Rows of a part, if nothing else is asked for: what an interruption costs, and what batches are made of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the work is distributed."""

    engine: Engine
    workers: int | None = None
    """Processes of the local engine; None for one per core."""
    master: str | None = None
    """The URL of Spark's master; None for the cores of this machine."""
    part_rows: int | None = None
    """None for what an earlier run had, or else `PART_ROWS`."""
    start_over: bool = False
    """Whether what an earlier run has written is removed first."""


def score(model: str, input: str, output: str, data: params.Data, options: Options) -> str:
    """Summarize the dialogues of many files into a folder, and return what was done as a sentence.

    The folder gets a Parquet file for each part and, in `_rejected`, one for each part with rows that cannot be
    summarized. Every row is in one of them, exactly once. Parts of an earlier run of the same model with the same
    settings over the same files are kept. Raises UserError if that run was of something else, or is not over.
    """
    if options.engine == "spark":
        from yoyak.batch_scoring.spark import check_spark

        check_spark()
    source, folder = open_storage(input), open_storage(output)
    files = find_sources(source)
    if source.scheme == folder.scheme and any(file.path.startswith(folder.join("")) for file in files):
        raise UserError(f"--output {output} holds files of --input: name another folder.")
    with open_target(model) as target, lock_folder(folder):
        manifest = _begin(target, source, files, folder, data, options)
        # Processes of a cluster are in folders of their own.
        input, output = (name if place.scheme else place.path for place, name in ((source, input), (folder, output)))
        job = _make_job(target, input, output, data, options, manifest.run)
        return _score_parts(job, manifest, folder, options)


def _begin(
    target: Target,
    source: Storage,
    files: Sequence[FoundFile],
    output: Storage,
    data: params.Data,
    options: Options,
) -> Manifest:
    """Return the manifest of an output folder, which is written now unless an earlier run has."""
    earlier = load_manifest(output)
    part_rows = options.part_rows or (earlier.setup.part_rows if earlier else PART_ROWS)
    weights, code = model_digests(target.folder)
    setup = Setup(
        model=_name(target),
        weights=weights,
        code=code,
        generation=target.generation.model_dump(mode="json"),
        settings=_describe_settings(target, data),
        files=[asdict(file) for file in files],
        part_rows=part_rows,
    )
    if earlier and not options.start_over:
        differences = find_differences(earlier.setup, setup)
        if not differences:
            return earlier
        more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
        raise UserError(
            f"{output.show()} holds the summaries of an earlier run, but {differences[0]}{more}: give the same again "
            "to go on, name another folder, or add --start-over to remove what is there."
        )
    parts = plan_parts(source, files, data, part_rows, progress=True)
    manifest = Manifest(setup=setup, parts=parts)
    if earlier:
        remove_results(output)
    save_manifest(output, manifest)
    return manifest


def _name(target: Target) -> str:
    """Return the model's name: that of the version, since an alias may name another one tomorrow."""
    return target.name if target.version is None else f"models:/{target.model}/{target.version}"


def _describe_settings(target: Target, data: params.Data) -> dict[str, Any]:
    columns = columns_to_read(data.columns)
    return {
        **{f"data.columns.{name}": getattr(columns, name) for name in ("id", "dialogue", "topic")},
        "data.encoding": data.encoding,
        "data.format": data.format,
        "data.max_chars": data.max_chars,
        "serving.max_chars": target.serving.max_chars,
        "serving.batch_size": target.batch_size,
    }


def _make_job(target: Target, input: str, output: str, data: params.Data, options: Options, run: str) -> Job:
    specs = [load_spec(file.parent) for file in resolve_model(str(target.folder)).rglob(SPEC_FILE)]
    return Job(
        run=run,
        input=input,
        output=output,
        data=data,
        serving=target.serving,
        model=_name(target),
        folder=target.folder,
        batch_size=target.batch_size,
        reads_topics=all(TOPIC in spec.preprocessing for spec in specs),
        threads=max(1, cores() // _count_workers(options)) if options.engine == "local" else 1,
    )


def _count_workers(options: Options) -> int:
    return options.workers or cores()


def _run_engine(
    job: Job, parts: Sequence[Part], options: Options, advance: Callable[[int], object]
) -> Generator[PartResult]:
    if options.engine == "spark":
        from yoyak.batch_scoring.spark import LOCAL, score_on_spark

        return score_on_spark(job, parts, options.master or LOCAL, advance)
    from yoyak.batch_scoring.local import score_in_processes

    return score_in_processes(job, parts, _count_workers(options), advance)


def _score_parts(job: Job, manifest: Manifest, output: Storage, options: Options) -> str:
    """Summarize the parts that are not done, with a progress bar over all rows."""
    from tqdm import tqdm

    remove_unfinished(output)
    done = find_done(output, job.run, manifest.parts)
    left = [part for part in manifest.parts if part.number not in done]
    kept = sum(result.rows for result in done.values())
    started = time.monotonic()
    if left:
        delete(output, output.join(SUCCESS))
        with tqdm(total=manifest.rows, initial=kept, desc="summarizing", unit="dialogue") as bar:
            rejected = sum(result.rejected for result in done.values())
            with closing(_run_engine(job, left, options, bar.update)) as results:
                for result in results:
                    done[result.number] = result
                    rejected += result.rejected
                    if rejected:
                        bar.set_postfix(rejected=rejected, refresh=False)
    seconds = time.monotonic() - started
    there = find_done(output, job.run, left)
    missing = [part_name(part.number) for part in left if part.number not in there]
    if missing:
        raise UserError(
            f"{len(missing)} parts are not in {output.show()}, such as {missing[0]}: the machines of a "
            "cluster have to share the folder, as with a URL; run the command again."
        )
    totals = _add_up(done.values())
    # It is written last: without it, an earlier run was ended after its last part.
    if left or SUCCESS not in list_names(output):
        finished = {**totals, "seconds": round(seconds, 1), "parts": len(left), "engine": options.engine}
        save_manifest(output, Manifest(setup=manifest.setup, parts=manifest.parts, finished=finished))
        write_whole(output, output.join(SUCCESS), b"")
    return _describe(output, totals, kept, seconds)


def _add_up(results: Iterable[PartResult]) -> dict[str, int]:
    totals = {"summarized": 0, "rejected": 0, "truncated": 0}
    for result in results:
        for name in totals:
            totals[name] += getattr(result, name)
    return totals


def _describe(output: Storage, totals: dict[str, int], kept: int, seconds: float) -> str:
    rows = totals["summarized"] + totals["rejected"]
    before = f", {kept} of them before" if kept else ""
    rate = f" in {seconds:.0f} s, {(rows - kept) / seconds:.1f} a second" if rows > kept else ""
    lines = [f"{rows} dialogues{before}: {totals['summarized']} summarized in {output.show()}{rate}"]
    if totals["truncated"]:
        lines.append(f"{totals['truncated']} did not fit and were not read completely: see the column truncated")
    if totals["rejected"]:
        lines.append(f"{totals['rejected']} rejected, with the reasons, in {output.show(output.join(REJECTED))}")
    return "\n".join(lines)
