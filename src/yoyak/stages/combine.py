"""yoyak combine: summarize any file with several models and combine what they write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from yoyak import params
from yoyak.errors import UserError
from yoyak.stages.arguments import Count, InputFile, ModelUri


def run(
    *models: ModelUri,
    all: Annotated[
        bool, Parameter(negative=(), help="Every registered member, and every ZIP file below --folder.")
    ] = False,
    folder: Annotated[str, Parameter(help="Where --all looks for ZIP files.")] = ".",
    input: InputFile = "-",
    output: Annotated[str, Parameter(help="Folder for the summaries, each model's own ones and the metadata.")] = (
        "ensemble_results"
    ),
    strategy: Annotated[str, Parameter(help="mbr, vote, weighted …, or a name under ensemble.strategies:.")] = "mbr",
    weights: Annotated[
        list[float] | None, Parameter(negative=(), consume_multiple=True, help="One for each model, in their order.")
    ] = None,
    min_members: Annotated[
        Count | None, Parameter(help="Fewest models that must be usable; without it, ensemble.min_members or 2.")
    ] = None,
    parallel: Annotated[bool, Parameter(negative=(), help="Run all models at once: more memory, less time.")] = False,
) -> None:
    """Summarize a CSV or JSONL file (``-``: standard input) with many models and combine what they write."""
    if not models and not all:
        raise UserError("name the models to combine, or give --all for every registered member and every ZIP file.")
    p = params.load_or_default()
    from yoyak.combining.combiner import choose_strategy, load_fitted
    from yoyak.combining.run import Options, combine_models
    from yoyak.combining.sources import list_models
    from yoyak.data.preparing import read_input

    options = Options(
        strategy=choose_strategy(strategy, p.ensemble),
        granularity=p.ensemble.granularity,
        generation=p.generation,
        scoring=p.scoring,
        min_members=p.ensemble.min_members if min_members is None else min_members,
        parallel=parallel,
        weights=weights,
        seed=p.seed,
        fitted=load_fitted(strategy),
    )
    rows = read_input(sys.stdin.buffer if input == "-" else Path(input), p.data, input)
    if not rows:
        raise UserError(f"{input} holds no dialogue: give a file with at least one.")
    listed = list_models(p.registry.name, Path(folder)) if all else []
    if not models and not listed:
        raise UserError(f"there is no registered member and no ZIP file below {folder}: train some with `dvc repro`.")
    uris = [*models, *(uri for uri in listed if uri not in models)]
    print(combine_models(uris, rows, input, Path(output), options))
