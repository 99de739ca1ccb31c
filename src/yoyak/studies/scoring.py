"""The score of each dialogue of dev and gate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from yoyak import project
from yoyak.params import Params

if TYPE_CHECKING:
    from yoyak.data.records import Dialogue


def read_splits() -> dict[str, list[Dialogue]]:
    """Return the rows of dev, and of gate if there is one: nothing has been selected on it."""
    from yoyak.data.records import read_jsonl

    paths = {split: project.split_file(split) for split in (project.DEV, project.GATE)}
    return {split: read_jsonl(path) for split, path in paths.items() if path.is_file()}


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
