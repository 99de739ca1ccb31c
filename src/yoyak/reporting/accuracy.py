"""The section on facts: how many summaries of each system have them right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from yoyak import project
from yoyak.behaviour.accuracy_results import EVERY, FactAccuracy, FactRate, read_fact_accuracy
from yoyak.reporting.formats import format_share
from yoyak.reporting.view import FactSection, System, Table
from yoyak.scoring.results import ALL, Part

KINDS = {
    EVERY: "all facts right",
    "number": "numbers",
    "time": "times",
    "date": "dates",
    "name": "names",
    "thing": "things",
    "mask": "masks",
    "person": "who does what",
}
"""The columns of a table."""
NOT_WRONG = "nothing made up or mixed up"
"""In place of all facts: where the data do not say what a summary has to state, nobody knows what is missing."""


def read_section(root: Path, parts: Sequence[Part], systems: Sequence[System]) -> FactSection | None:
    """Return the section; None if facts were not measured."""
    path = root / project.FACT_ACCURACY
    if not path.is_file():
        return None
    accuracy = read_fact_accuracy(path)
    return FactSection(
        tables=tuple(_make_table(accuracy, part, systems) for part in parts),
        known=any(accuracy.known.get(part.split) for part in parts),
        rates={
            (system.name, part): rate
            for part in parts
            if accuracy.known.get(part.split)
            for system in systems
            if (rate := _find(accuracy, system.name, part).get(EVERY))
        },
    )


def _make_table(accuracy: FactAccuracy, part: Part, systems: Sequence[System]) -> Table:
    rates = {name: _find(accuracy, name, part) for name in (system.name for system in systems)}
    rates = {name: of_system for name, of_system in rates.items() if of_system}
    kinds = [kind for kind in KINDS if any(kind in of_system for of_system in rates.values())]
    names = KINDS if accuracy.known.get(part.split) else {**KINDS, EVERY: NOT_WRONG}
    return Table(
        title=f"{part.label}, n = {part.n:,}",
        columns=("system", *(names[kind] for kind in kinds)),
        rows=tuple((name, *(_format(of_system.get(kind)) for kind in kinds)) for name, of_system in rates.items()),
    )


def _find(accuracy: FactAccuracy, system: str, part: Part) -> dict[str, FactRate]:
    """Return a system's rates on a part, by kind."""
    slice_name = EVERY if part.slice == ALL else part.slice
    return {
        rate.kind: rate
        for rate in accuracy.rates
        if (rate.system, rate.split, rate.slice) == (system, part.split, slice_name)
    }


def _format(rate: FactRate | None) -> str:
    if rate is None:
        return "–"
    if rate.kind != EVERY:
        return format_share(rate.share)
    return f"{format_share(rate.share)} ({format_share(rate.low)}–{format_share(rate.high)})"
