"""Results of the behaviour tests of one member, in behaviour/<member>.json."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, field
from statistics import NormalDist
from typing import Literal

from yoyak.files import read_result, write_result

CHECKS = {
    "empty_accepted": "empty dialogue summarized",
    "one_turn_empty": "one turn, no summary",
    "mentions_missing": "required mention missing",
    "never_mentioned": "something mentioned that is wrong",
    "masks_made_up": "mask made up",
    "numbers_made_up": "number made up",
    "names_made_up": "name made up",
    "filler_changed": "filler changes the content",
    "order_changed": "order changes the content",
    "swap_changed": "swapped speakers change more",
    "test_masks_made_up": "mask made up (test)",
    "test_numbers_made_up": "number made up (test)",
    "test_names_made_up": "name made up (test)",
}
"""What a failure of each check is, in the order of tables; a check without a dialogue to try it on has no rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How often a check fails."""

    name: str
    """One of `CHECKS`."""
    failures: int
    n: int
    """Number of dialogues that the check was tried on."""
    rate: float
    low: float
    """Lower end of the Wilson interval."""
    high: float
    similarity: float | None = None
    """Of a changed dialogue: mean combined ROUGE between the summaries before and after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A dialogue on which a check failed."""

    check: str
    case: str
    """Name of the case, or fname of the test dialogue."""
    detail: str
    """What is wrong, such as the number that is made up."""
    dialogue: str
    summary: str
    changed_dialogue: str = ""
    """The dialogue as it was changed, if the check is one of changes."""
    changed_summary: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """The results of one member."""

    member: str
    cases: tuple[str, ...]
    confidence: float
    rates: dict[str, Rate]
    """By check."""
    references: dict[str, Rate]
    """The checks of the test split on its first references: what the detection finds where people wrote."""
    failures: tuple[Failure, ...]
    """The first failures of each check."""
    passed: dict[str, float] = field(default_factory=dict)
    """By file of cases: the share of its dialogues, as they are, whose summary fails no check."""
    version: Literal[1] = 1
    """Version of the file's format."""


def read_behaviour(path: str | os.PathLike[str]) -> Behaviour:
    """Read what `write_behaviour` wrote; UserError if the file is missing, damaged or of another version."""
    return read_result(path, Behaviour, command="dvc repro behaviour")


def write_behaviour(path: str | os.PathLike[str], behaviour: Behaviour) -> None:
    """Write results as JSON."""
    write_result(path, behaviour)


def make_rate(name: str, failures: int, n: int, confidence: float, similarity: float | None = None) -> Rate:
    """Return the rate of failures with its Wilson score interval (Wilson 1927), which holds for few dialogues too."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, scale = failures / n, 1 + z * z / n
    center = (rate + z * z / (2 * n)) / scale
    reach = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / scale
    return Rate(
        name=name,
        failures=failures,
        n=n,
        rate=rate,
        low=max(0.0, center - reach) if failures else 0.0,
        high=min(1.0, center + reach) if failures < n else 1.0,
        similarity=similarity,
    )
