"""The score of each dialogue of dev and gate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from yoyak import project
from yoyak.params import Params
from yoyak.studies import records

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from yoyak.data.records import Dialogue
    from yoyak.studies.kinds import Kind


def read_splits() -> dict[str, list[Dialogue]]:
    """Return the rows of dev, and of gate if there is one: nothing has been selected on it."""
    from yoyak.data.records import read_jsonl

    paths = {split: project.split_file(split) for split in (project.DEV, project.GATE)}
    return {split: read_jsonl(path) for split, path in paths.items() if path.is_file()}


def describe_basis(kind: Kind, study: optuna.Study, trial: FrozenTrial) -> str:
    """Return a digest of what a trial's scores rest on: study, trial, rows, and how params.yaml summarizes."""
    from yoyak.tracking import lineage

    paths = [project.split_file(split) for split in (project.DEV, project.GATE)]
    described = [
        study.user_attrs.get(records.IDENTITY),
        [trial.number, trial.params, trial.values],
        {key: kind.tree.get(key) for key in ("generation", "scoring", "ensemble", "seed")},
        lineage.digests(path for path in paths if path.is_file()),
    ]
    return hashlib.sha256(json.dumps(described, sort_keys=True, default=str).encode()).hexdigest()


def score_dialogues(texts: Sequence[str], rows: Sequence[Dialogue], settings: Params) -> list[float]:
    """Return the combined ROUGE of each summary."""
    from yoyak.scoring.rouge import rouge

    scores = rouge(
        texts,
        [row.summaries for row in rows],
        granularity=settings.scoring.granularities[0],
        multi_reference=settings.scoring.multi_reference,
        weights=settings.scoring.weights,
    )
    return [float(value) for value in scores["combined"]]
