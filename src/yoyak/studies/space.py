"""From the dimensions of a study to the values of a trial: suggested by Optuna, or every combination of a grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from yoyak.params.studies import CategoricalDimension, Dimension, FloatDimension

if TYPE_CHECKING:
    import optuna

Dimensions = Mapping[str, Dimension]


def suggest(trial: optuna.Trial, dimensions: Dimensions) -> dict[str, Any]:
    """Return the trial's value of each dimension that exists in it."""
    values: dict[str, Any] = {}
    for name, dimension in dimensions.items():
        if not _exists(dimension, values):
            continue
        if isinstance(dimension, CategoricalDimension):
            values[name] = trial.suggest_categorical(name, dimension.choices)
        elif isinstance(dimension, FloatDimension):
            values[name] = trial.suggest_float(
                name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
            )
        else:
            values[name] = trial.suggest_int(
                name, dimension.low, dimension.high, step=dimension.step, log=dimension.log
            )
    return values


def combinations(dimensions: Dimensions) -> list[dict[str, Any]]:
    """Return every combination of the grid, the last dimension varying fastest."""
    return list(_extend({}, list(dimensions.items())))


def _extend(values: dict[str, Any], rest: list[tuple[str, Dimension]]) -> Iterator[dict[str, Any]]:
    if not rest:
        yield values
        return
    (name, dimension), *others = rest
    if not _exists(dimension, values):
        yield from _extend(values, others)
        return
    for value in dimension.grid():
        yield from _extend({**values, name: value}, others)


def _exists(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    return all(other in values and values[other] in allowed for other, allowed in dimension.when.items())
