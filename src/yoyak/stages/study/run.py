"""yoyak study run: run studies of studies/, or go on with them."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from cyclopts import Parameter

from yoyak.errors import UserError
from yoyak.stages.arguments import Count


def run(
    *names: Annotated[str, Parameter(name="NAME", help="Files of studies/ without .yaml; several run in turn.")],
    trials: Annotated[
        Count | None, Parameter(help="Trials that are to end in all, earlier ones included; overrides the file.")
    ] = None,
    workers: Annotated[Count, Parameter(help="Processes that run trials at the same time.")] = 1,
    storage: Annotated[
        str | None,
        Parameter(
            help="postgresql+psycopg2://…, for several machines; by default the variable OPTUNA_STORAGE, else a file."
        ),
    ] = None,
    extend: Annotated[
        bool, Parameter(negative=(), help="Go on although the search space, the data or the code has changed.")
    ] = False,
    restart: Annotated[
        bool, Parameter(negative=(), help="Start over where it has changed, and put the earlier trials aside.")
    ] = False,
) -> None:
    """Write studies/<name>/: summary.json, best.yaml, trials.csv, the report, and the best trials' models.

    Ctrl-C once ends the running trials at their next step, and the same command goes on with them; twice ends at once.
    """
    if not names:
        raise UserError("name a study, such as `yoyak study run hyperparameter`.")
    if extend and restart:
        raise UserError("--extend goes on with a changed study and --restart starts it over: choose one.")
    from yoyak.studies.run import Options, run_study

    storage = storage or os.environ.get("OPTUNA_STORAGE") or None
    options = Options(trials=trials, workers=workers, storage=storage, extend=extend, restart=restart)
    for name in names:
        summary = run_study(name, options)
        states = ", ".join(f"{count} {state.lower()}" for state, count in summary.states.items())
        print(f"{name}: {states}")
        if summary.best is not None:
            measured = ", ".join(f"{key} {value:.4f}" for key, value in summary.best.measures.items())
            print(f"best: trial {summary.best.number}, {measured}")
            for key, value in summary.best.values.items():
                print(f"  {key}: {value}")
            for split, interval in (("dev", summary.best.dev), ("gate", summary.best.gate)):
                if interval is not None:
                    print(f"  {split}: {interval.mean:.4f} ({interval.low:.4f} to {interval.high:.4f})")
        for best in summary.front:
            print(f"front: trial {best.number}, " + ", ".join(f"{k} {v:.4f}" for k, v in best.measures.items()))
        print(summary.warning, file=sys.stderr)
        print(f"studies/{name}/report/report.html", file=sys.stderr)
