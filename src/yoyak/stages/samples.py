"""yoyak samples: write generated Korean sample dialogues."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from yoyak.errors import UserError
from yoyak.files import atomic_path
from yoyak.stages.arguments import Count, Seed

SplitName = Literal["train", "dev", "test", "gate"]


def run(
    *,
    n: Annotated[Count, Parameter(help="Number of dialogues.")] = 1000,
    seed: Seed = 20,
    open_vocabulary: Annotated[
        bool, Parameter(help="For pretraining: any values, and scenarios composed from parts as well.", negative="")
    ] = False,
    turns: Annotated[
        str | None, Parameter(help="Long dialogues of several conversations, with so many turns: 50-300.")
    ] = None,
    split: Annotated[SplitName, Parameter(help="The split of the corpus that the dialogues are of.")] = "train",
    output: Annotated[str, Parameter(help="CSV file to write; - is standard output.")] = "-",
) -> None:
    """Write ``n`` rows to ``output`` (``-``: standard output)."""
    if output != "-" and Path(output).is_dir():
        raise UserError(f"--output {output} is a folder: name a file in it.")
    if open_vocabulary and (turns is not None or split != "train"):
        raise UserError("--open-vocabulary does not go with --turns and --split: leave one or the other out.")
    bounds = None if turns is None else _read_range(turns)
    from yoyak.data.samples import write_samples

    if output == "-":
        write_samples(sys.stdout, n, seed, is_open=open_vocabulary, split=split, turns=bounds)
    else:
        with atomic_path(output) as work, work.open("w", encoding="utf-8", newline="") as out:
            write_samples(out, n, seed, is_open=open_vocabulary, split=split, turns=bounds)


def _read_range(text: str) -> tuple[int, int]:
    """Return the ends of a range such as 50-300; a single number is both."""
    match = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text)
    low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if low > high:
        raise UserError(f"--turns {text} is not a range of turns: write the fewest and the most, as in 50-300.")
    return low, high
