"""Learning curves: plots/curves_<member>.csv, reduced to as many points as a chart can show."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak import project
from yoyak.errors import UserError
from yoyak.reporting.view import Curve

QUANTITIES = ("loss", "eval_loss", "eval_combined")
MAX_POINTS = 300
"""Points kept of a curve; more could not be told apart at the width of a chart."""


def read_curves(
    root: Path, members: Sequence[str], series: Mapping[str, int]
) -> tuple[dict[str, tuple[Curve, ...]], str]:
    """Return the curves by quantity of the members that have a series, and the unit of their first coordinate.

    The unit is ``epoch`` if all rows have one, since steps are not comparable across batch sizes, else ``step``. A
    member without a file was not trained here and has no curve. Raises UserError for a cell that is not a number.
    """
    files = {member: project.training_curves_file(member).as_posix() for member in members if member in series}
    logs = {member: _read_rows(root, file) for member, file in files.items()}
    unit = "epoch" if all("epoch" in row for rows in logs.values() for row in rows) else "step"
    curves_by_quantity = {}
    for quantity in QUANTITIES:
        curves = []
        for member, rows in logs.items():
            points = [(row[unit], row[quantity]) for row in rows if unit in row and quantity in row]
            if points:
                curves.append(Curve(member=member, series=series[member], points=_thin_out(points)))
        if curves:
            curves_by_quantity[quantity] = tuple(curves)
    return curves_by_quantity, unit


def _read_rows(root: Path, name: str) -> list[dict[str, float]]:
    """Return the finite numbers of each row; a loss that overflowed is left out like an empty cell."""
    path = root / name
    if not path.exists():
        return []
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        for line, row in enumerate(csv.DictReader(file), start=2):
            numbers = {}
            for column in ("step", "epoch", *QUANTITIES):
                try:
                    value = float(row.get(column) or "nan")
                except ValueError:
                    raise UserError(f"{name}, line {line}: {column} must be a number, not {row[column]!r}.") from None
                if math.isfinite(value):
                    numbers[column] = value
            rows.append(numbers)
    return rows


def _thin_out(points: list[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    stride = -(-len(points) // MAX_POINTS)
    last = () if (len(points) - 1) % stride == 0 else (points[-1],)
    return (*points[::stride], *last)
