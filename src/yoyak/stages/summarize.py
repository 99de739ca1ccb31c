"""yoyak summarize: the summaries of any file by any model, or of any number of files part by part."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal, TextIO

from cyclopts import Parameter

from yoyak import params
from yoyak.errors import UserError
from yoyak.files import atomic_path
from yoyak.stages.arguments import Count, ModelUri


def run(
    model: ModelUri,
    *,
    input: Annotated[
        str,
        Parameter(
            help="CSV or JSONL file with dialogues; - is standard input. With --engine also Parquet, a folder, a "
            "pattern such as 's3://bucket/*.parquet', or a URL."
        ),
    ] = "-",
    output: Annotated[
        str,
        Parameter(
            help="CSV file fname,summary to write; - is standard output. With --engine a folder or URL for the parts."
        ),
    ] = "-",
    engine: Annotated[
        Literal["local", "spark"] | None,
        Parameter(help="Summarize part by part, over processes or Spark; an interrupted run goes on with its parts."),
    ] = None,
    workers: Annotated[
        Count | None, Parameter(help="Processes of --engine local; without it, one for each core.")
    ] = None,
    master: Annotated[
        str | None, Parameter(help="Master of --engine spark, such as spark://host:7077; without it, local[*].")
    ] = None,
    part_rows: Annotated[Count | None, Parameter(help="Rows of a part; without it, 1000.")] = None,
    start_over: Annotated[
        bool, Parameter(negative=(), help="Remove what an earlier run has written to --output first.")
    ] = False,
) -> None:
    """Summarize a CSV or JSONL file (``-``: standard input) into a CSV ``fname,summary``, or many files into parts."""
    if engine is None:
        _refuse_without_engine(workers=workers, master=master, part_rows=part_rows, start_over=start_over or None)
        _summarize_file(model, input, output)
        return
    if "-" in (input, output):
        raise UserError("--engine reads files and writes a folder: name them with --input and --output.")
    if engine == "spark" and workers is not None:
        raise UserError("--workers is for --engine local: with Spark, give --master 'local[N]' or a cluster's URL.")
    if engine == "local" and master is not None:
        raise UserError("--master is for --engine spark: with processes of this machine, give --workers.")
    from yoyak.batch_scoring.run import Options, score

    options = Options(engine=engine, workers=workers, master=master, part_rows=part_rows, start_over=start_over)
    print(score(model, input, output, params.load_or_default().data, options))


def _refuse_without_engine(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise UserError(f"--{name.replace('_', '-')} needs --engine local or --engine spark.")


def _summarize_file(model: str, input: str, output: str) -> None:
    if output != "-" and Path(output).is_dir():
        raise UserError(f"--output {output} is a folder: name a file in it, or give --engine to write parts.")
    data = params.load_or_default().data
    from yoyak.bundles.resolve import resolve_model
    from yoyak.data.preparing import read_input

    rows = read_input(sys.stdin.buffer if input == "-" else Path(input), data, input)
    from yoyak.decoding.summarizer import describe_readings, texts_to_read
    from yoyak.serving.loading import load_summarizer

    folder = resolve_model(model)
    with ExitStack() as stack:
        out: TextIO = sys.stdout
        if output != "-":
            # Opened before anything is summarized, so that a file that cannot be written fails early.
            work = stack.enter_context(atomic_path(output))
            out = stack.enter_context(work.open("w", encoding="utf-8", newline=""))
        summarizer = load_summarizer(folder)
        summaries = summarizer.summarize(texts_to_read(summarizer, rows), progress=True)
        _write(out, zip([row.fname for row in rows], summaries.texts, strict=True))
    sentence = describe_readings(summaries)
    if sentence:
        print(sentence, file=sys.stderr)


def _write(stream: TextIO, lines: Iterable[tuple[str, str]]) -> None:
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["fname", "summary"])
    writer.writerows(lines)
