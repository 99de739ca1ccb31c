"""The section on ensembles: evaluation/ensembles.json as tables of ready strings, beside it as it is for the charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yoyak.errors import UserError
from yoyak.reporting.formats import p_value, share, signed
from yoyak.reporting.view import Ensembles, Table
from yoyak.scoring.results import Part

SHOWN = 16
"""Members in the table of agreement, the best on dev; the JSON has all."""


def section(analysis: Mapping[str, Any], parts: tuple[Part, ...]) -> Ensembles | None:
    """Return what evaluation/ensembles.json says; None where there are no ensembles. Raises UserError if damaged."""
    try:
        if not analysis["strategies"]:
            return None
        there = {part: analysis["splits"][part.split][part.slice] for part in parts}
        first = there[parts[0]]
        return Ensembles(
            conclusion=str(analysis["conclusion"]),
            best=str(analysis["best_ensemble"]),
            results=tuple(_results(part, found, analysis) for part, found in there.items()),
            contributions=_contributions(parts[0], first, analysis),
            agreement=_agreement(parts[0], first, analysis),
            lengths=_lengths(parts[0], first),
            analysis=analysis,
        )
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UserError(
            f"evaluation/ensembles.json is not what the evaluate stage writes ({type(error).__name__}: {error}): "
            "run it again (dvc repro -f evaluate)."
        ) from error


def _results(part: Part, found: Mapping[str, Any], analysis: Mapping[str, Any]) -> Table:
    """Return a row for each strategy, below them the best member and what would be possible."""
    best = analysis["best_member"]
    rows = []
    for name, strategy in found["strategies"].items():
        about, gain = analysis["strategies"][name], strategy["gain"]
        kind = f"{about['type']}, passed through" if about["pass_through"] else about["type"]
        cells = (_score(strategy["score"]), _change(gain), _p(gain), share(strategy["captured"]))
        rows.append((name, kind, *cells))
    rows.append((best, "best member", _score(found["best_member"]), "", "", ""))
    ceiling = (_score(found["oracle"]), signed(found["headroom"]), "", share(1.0))
    rows.append(("best candidate", "with references", *ceiling))
    columns = ("strategy", "type", "score", f"gain over {best}", "p", "captured headroom")
    return Table(title=f"{part.label} (n = {part.n:,})", columns=columns, rows=tuple(rows))


def _contributions(part: Part, found: Mapping[str, Any], analysis: Mapping[str, Any]) -> Table:
    rows = tuple(_contribution_rows(found, analysis))
    columns = ("strategy: member", "change by it", "p", "share of summaries")
    return Table(title=f"What each member adds on {part.label}", columns=columns, rows=rows)


def _contribution_rows(found: Mapping[str, Any], analysis: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for name in analysis["strategies"]:
        strategy = found["strategies"][name]
        for member, entry in strategy["contributions"].items():
            change = entry["change"]
            cells = (_change(change), _p(change)) if change else ("–", "–")
            yield (f"{name}: {member}", *cells, share(entry["share"]))
        if strategy["of_several"]:
            yield (f"{name}: of several", "–", "–", share(strategy["of_several"]))


def _agreement(part: Part, found: Mapping[str, Any], analysis: Mapping[str, Any]) -> Table | None:
    members = analysis["members"][:SHOWN]
    if len(members) < 2:
        return None
    rouge, same = found["agreement"]["rouge"], found["agreement"]["same"]
    rows = tuple(
        (one, *("" if a == b else f"{rouge[a][b]:.3f} ({share(same[a][b])} same)" for b in range(len(members))))
        for a, one in enumerate(members)
    )
    return Table(title=f"How alike the members' summaries are on {part.label}", columns=("", *members), rows=rows)


def _lengths(part: Part, found: Mapping[str, Any]) -> Table:
    lengths = found["lengths"]
    names = list(found["strategies"])
    rows = tuple(
        (each["label"], f"{each['n']:,}", *(_change(each["gains"][name]) for name in names)) for each in lengths["bins"]
    )
    return Table(title=f"Gain by dialogue length on {part.label}", columns=(lengths["by"], "n", *names), rows=rows)


def _score(value: Mapping[str, float]) -> str:
    return f"{value['mean']:.3f} ({value['low']:.3f}–{value['high']:.3f})"


def _change(value: Mapping[str, float]) -> str:
    return f"{signed(value['difference'])} ({signed(value['low'])} to {signed(value['high'])})"


def _p(value: Mapping[str, float]) -> str:
    return p_value(value["p_value"]).removeprefix("p\u00a0").removeprefix("=\u00a0")
