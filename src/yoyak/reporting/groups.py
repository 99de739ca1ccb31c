"""Scores by dialogue length and by topic, from evaluation/dialogues.csv."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import NormalDist

import pandas as pd

from yoyak.errors import UserError
from yoyak.reporting.view import Group, Grouping
from yoyak.scoring.bins import length_bins
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.metrics import METRICS
from yoyak.scoring.results import Part

COLUMNS = {
    "split": str,
    "fname": str,
    "slice": str,
    "topic": str,
    "turns": int,
    "dialogue_chars": int,
    "system": str,
    **dict.fromkeys(METRICS, float),
}
MAX_TOPICS = 24
"""Topics shown: the most frequent."""
MIN_TOPIC_SIZE = 2
"""Dialogues that a topic must have to be shown: a single one has no spread."""


def read_scores(path: Path) -> pd.DataFrame:
    """Return evaluation/dialogues.csv: one row per dialogue and system."""
    try:
        return pd.read_csv(path, dtype=COLUMNS, usecols=list(COLUMNS), keep_default_na=False)
    except FileNotFoundError:
        raise UserError(
            "evaluation/dialogues.csv is missing: run the evaluate stage first (dvc repro evaluate)."
        ) from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"evaluation/dialogues.csv cannot be read: {' '.join(str(error).split())}.") from error


def make_groupings(
    table: pd.DataFrame, part: Part, metric: str, systems: Sequence[str], best: str, confidence: float
) -> tuple[Grouping, ...]:
    """Return the dialogues of the headline's part grouped by length and, if they have topics, by topic."""
    rows = table[(table["split"] == part.split) & table["system"].isin(systems)]
    groupings = (_by_length(rows, metric, systems, confidence), _by_topic(rows, metric, systems, best, confidence))
    return tuple(grouping for grouping in groupings if grouping.groups)


def _by_length(rows: pd.DataFrame, metric: str, systems: Sequence[str], confidence: float) -> Grouping:
    lengths = rows.drop_duplicates("fname")
    bins = length_bins(lengths["turns"].tolist(), lengths["dialogue_chars"].tolist())
    row_bins = rows["fname"].map(dict(zip(lengths["fname"], bins.indices, strict=True)))
    groups = [
        _score(label, rows[row_bins == index], metric, systems, confidence) for index, label in enumerate(bins.labels)
    ]
    return Grouping(by=bins.by, groups=tuple(groups), hidden=0)


def _by_topic(rows: pd.DataFrame, metric: str, systems: Sequence[str], best: str, confidence: float) -> Grouping:
    """Return the most frequent topics, sorted by the best member's score."""
    sizes = rows.drop_duplicates("fname")["topic"].value_counts()
    sizes = sizes[sizes.index != ""]
    by_size = sorted(((-int(n), str(topic)) for topic, n in sizes.items() if n >= MIN_TOPIC_SIZE))
    shown = rows[rows["topic"].isin({topic for _, topic in by_size[:MAX_TOPICS]})]
    groups = [_score(str(topic), group, metric, systems, confidence) for topic, group in shown.groupby("topic")]
    groups.sort(key=lambda group: (-group.scores[best].mean if best in group.scores else 0.0, group.label))
    return Grouping(by="topic", groups=tuple(groups), hidden=len(sizes) - len(groups))


def _score(label: str, rows: pd.DataFrame, metric: str, systems: Sequence[str], confidence: float) -> Group:
    """Return each system's mean with a normal interval; a bootstrap for each group would add nothing."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    scores = {}
    for system, values in rows.groupby("system")[metric]:
        n = len(values)
        margin = z * float(values.std(ddof=1)) / math.sqrt(n) if n > 1 else 0.0
        mean = float(values.mean())
        scores[str(system)] = Interval(mean=mean, low=max(mean - margin, 0.0), high=min(mean + margin, 1.0), n=n)
    ordered = {system: scores[system] for system in systems if system in scores}
    return Group(label=label, n=int(rows["fname"].nunique()), scores=ordered)
