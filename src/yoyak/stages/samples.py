"""yoyak samples: write generated Korean sample dialogues."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError
from yoyak.files import atomic_path
from yoyak.stages.arguments import Count, Seed


def run(
    *,
    n: Annotated[Count, Parameter(help="Number of dialogues.")] = 1000,
    seed: Seed = 20,
    open_vocabulary: Annotated[
        bool, Parameter(help="For pretraining: any values, and scenarios composed from parts as well.", negative="")
    ] = False,
    output: Annotated[str, Parameter(help="CSV file to write; - is standard output.")] = "-",
) -> None:
    """Write ``n`` rows to ``output`` (``-``: standard output)."""
    if output != "-" and Path(output).is_dir():
        raise UserError(f"--output {output} is a folder: name a file in it.")
    from yoyak.data.samples import write_samples

    if output == "-":
        write_samples(sys.stdout, n, seed, is_open=open_vocabulary)
    else:
        with atomic_path(output) as work, work.open("w", encoding="utf-8", newline="") as out:
            write_samples(out, n, seed, is_open=open_vocabulary)
