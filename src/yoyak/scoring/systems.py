"""What is evaluated: systems and their names, splits and their parts, and whether they fit together."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Mapping

import numpy as np

from yoyak.data.records import Dialogue
from yoyak.errors import UserError, nearest
from yoyak.project import DEV
from yoyak.scoring.baselines import BASELINES
from yoyak.scoring.results import ALL, Part

Predictions = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Summaries by system, split and fname."""

ORACLE = "oracle"
BEST_BASELINE = "best_baseline"


def check_systems(members: Collection[str], ensembles: Collection[str]) -> None:
    if not members:
        raise UserError("There are no members to evaluate: at least one must have predictions.")
    for kind, systems in (("Member", members), ("Ensemble", ensembles)):
        for name in systems:
            if name in (*BASELINES, ORACLE, BEST_BASELINE):
                raise UserError(f"{kind} '{name}' needs another name: this one is reserved for a baseline.")
            if kind == "Ensemble" and name in members:
                raise UserError(f"Ensemble '{name}' needs another name: a member already has this one.")


def check_splits(splits: Mapping[str, Collection[Dialogue]]) -> None:
    if DEV not in splits:
        raise UserError(f"The evaluation needs a split named '{DEV}', on which the best member is selected.")
    for split, rows in splits.items():
        if not len(rows):
            raise UserError(f"Split '{split}' has no dialogues to score.")
        for row in rows:
            if not row.summaries:
                raise UserError(f"Dialogue '{row.fname}' of split '{split}' has no reference summary.")
            if row.slice == ALL:
                raise UserError(f"Dialogue '{row.fname}' of split '{split}': a slice may not be named '{ALL}'.")


def check_predictions(
    splits: Mapping[str, Collection[Dialogue]], members: Predictions, ensembles: Predictions, sampled: Collection[str]
) -> None:
    for kind, systems in (("Member", members), ("Ensemble", ensembles)):
        for name, parts in systems.items():
            for split, rows in splits.items():
                if split not in parts:
                    raise UserError(f"{kind} '{name}' has no predictions for split '{split}'{nearest(split, parts)}.")
                missing = next((row.fname for row in rows if row.fname not in parts[split]), None)
                if missing is not None and (name not in sampled or not parts[split]):
                    raise UserError(f"{kind} '{name}' has no prediction for dialogue '{missing}' of split '{split}'.")


def index_parts(splits: Mapping[str, Collection[Dialogue]]) -> dict[Part, np.ndarray]:
    """Return every split (slice `ALL`) and each of its slices, with the indices of their dialogues.

    Indices refer to the concatenated dialogues of all splits.
    """
    parts: dict[Part, np.ndarray] = {}
    start = 0
    for split, rows in splits.items():
        slices: dict[str, array[int]] = {}
        size = 0
        for size, row in enumerate(rows, 1):
            if row.slice:
                slices.setdefault(row.slice, array("q")).append(start + size - 1)
        parts[Part(split=split, slice=ALL, n=size)] = np.arange(start, start + size)
        for name in sorted(slices):
            parts[Part(split=split, slice=name, n=len(slices[name]))] = np.array(slices[name])
        start += size
    return parts
