"""yoyak summarize: the summaries of any file by any model."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, TextIO

from cyclopts import Parameter

from yoyak import params
from yoyak.errors import UserError
from yoyak.files import atomic_path
from yoyak.stages.arguments import InputFile, ModelUri


def run(
    model: ModelUri,
    /,
    *,
    input: InputFile = "-",
    output: Annotated[str, Parameter(help="CSV file fname,summary to write; - is standard output.")] = "-",
) -> None:
    """Summarize a CSV or JSONL file (``-``: standard input) into a CSV ``fname,summary``."""
    if output != "-" and Path(output).is_dir():
        raise UserError(f"--output {output} is a folder: name a file in it.")
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
