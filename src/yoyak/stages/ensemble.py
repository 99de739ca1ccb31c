"""yoyak ensemble <strategy>: one summary of the members' candidates; or of any models' for any file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from yoyak import params
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path, write_json
from yoyak.params.ensemble import Ensemble, OfCandidates
from yoyak.tracking import lineage, runs


def run(
    name: str | None = None,
    models: Sequence[str] | None = None,
    every: str | None = None,
    input: str = "-",
    output: str = "ensemble_results",
    strategy: str = "mbr",
    weights: Sequence[float] | None = None,
    min_members: int | None = None,
    parallel: bool = False,
) -> None:
    """Write ensembles/<name>/ as the pipeline does, or combine ``models`` (or every one there is) over ``input``."""
    anywhere = models is not None or every is not None
    if (name is None) != anywhere:
        raise UserError("name a strategy of params.yaml, or models with --models or --all, and not both.")
    options = (input, output, strategy, weights, min_members, parallel)
    if name is not None and options != ("-", "ensemble_results", "mbr", None, None, False):
        raise UserError(f"{name} takes its values from params.yaml: options go with --models or --all.")
    if name is not None:
        combine_members(name)
    else:
        combine_anything(models or (), every, input, output, strategy, weights, min_members, parallel)


def combine_members(name: str) -> None:
    """Write what a strategy of params.yaml makes of the members' candidates, split by split."""
    p = params.read(
        "members",
        f"ensemble.strategies.{name}",
        "ensemble.granularity",
        "ensemble.min_members",
        "ensemble.processes",
        "seed",
    )
    strategy = p.ensemble.strategies[name]
    members = strategy.members or list(p.members)
    if len(members) < p.ensemble.min_members:
        raise UserError(
            f"ensemble.strategies.{name} has {len(members)} member ({', '.join(members)}), and ensemble.min_members "
            f"asks for {p.ensemble.min_members}: name more, or set min_members to 1 to pass one member through."
        )
    prepared = Path("prepared")
    folders = {member: Path("predictions", member) for member in members}
    inputs = lineage.digests([prepared, *folders.values()])
    with runs.stage_run("ensemble", member=name, params=params.dump(p), inputs=inputs) as run:
        from yoyak.ensemble import combine
        from yoyak.ensemble.splits import combine_splits

        out = Path("ensembles", name)
        with atomic_path(out) as work:
            work.mkdir()
            made = combine_splits(
                strategy,
                prepared,
                folders,
                work,
                granularity=p.ensemble.granularity,
                processes=p.ensemble.processes,
                seed=p.seed,
            )
            combine.save(made.combiner, work)
            write_json(work / "info.json", made.info)
        run.log_metrics({f"weight_{member}": weight for member, weight in made.combiner.weights.items()})
        run.log_artifact(out, "ensembles")
    print(json.dumps(made.info, ensure_ascii=False))


def combine_anything(
    models: Sequence[str],
    every: str | None,
    source: str,
    output: str,
    strategy: str,
    weights: Sequence[float] | None,
    min_members: int | None,
    parallel: bool,
) -> None:
    """Summarize a CSV or JSONL file (``-``: standard input) with many models and combine what they write."""
    # Models can be used anywhere: outside of a project, columns and values are the usual ones.
    p = params.load() if Path(params.PARAMS_FILE).exists() else params.Params.model_construct()
    from yoyak.data.preparing import read_input
    from yoyak.ensemble import combine
    from yoyak.ensemble.anywhere import Options, combine_models
    from yoyak.ensemble.sources import every_model

    chosen = _strategy(strategy, p.ensemble)
    rows = read_input(sys.stdin.buffer if source == "-" else Path(source), p.data, source)
    if not rows:
        raise UserError(f"{source} holds no dialogue: give a file with at least one.")
    fitted = Path("ensembles", strategy)
    found = every_model(p.registry.name, Path(every)) if every is not None else []
    if not models and not found:
        raise UserError(f"there is no registered member and no ZIP below {every}: train some with `dvc repro`.")
    uris = [*models, *(uri for uri in found if uri not in models)]
    final = combine_models(
        uris,
        rows,
        source,
        Path(output),
        Options(
            strategy=chosen,
            granularity=p.ensemble.granularity,
            generation=p.generation,
            scoring=p.scoring,
            min_members=p.ensemble.min_members if min_members is None else min_members,
            parallel=parallel,
            weights=weights,
            seed=p.seed,
            learned=combine.load(fitted) if (fitted / combine.FILE).is_file() else None,
        ),
    )
    print(final)


def _strategy(name: str, settings: Ensemble) -> OfCandidates:
    """Return a strategy by its name in params.yaml, or a plain one by its type."""
    if name in settings.strategies:
        return settings.strategies[name]
    kinds = {kind.model_fields["type"].annotation.__args__[0]: kind for kind in get_args(get_args(OfCandidates)[0])}
    if name in ("soft", "soup"):
        raise UserError(f"--strategy {name} works inside of the models: it is for ensemble.models and `yoyak blend`.")
    if name not in kinds:
        raise UserError(f"--strategy: there is no '{name}'{nearest(name, [*settings.strategies, *kinds])}.")
    return kinds[name](type=name)
