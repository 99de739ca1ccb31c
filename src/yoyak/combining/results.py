"""The results of a combination: ensemble_metadata_<time>.json and the scores in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yoyak.combining.sources import Origin
from yoyak.data.records import Dialogue
from yoyak.ensemble.info import CombinerInfo
from yoyak.params import Scoring

ENSEMBLE = "ensemble"
"""Name of the combined summaries among the scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputFile:
    """The dialogues that were summarized."""

    file: str
    dialogues: int
    md5: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinedModel:
    """A model that took part."""

    member: str
    """Its label: registered name and version, or the name of its file or folder."""
    uri: str
    md5: str
    origin: Origin
    file: str
    """File with its own summaries."""
    chosen: int
    """Number of dialogues whose combined summary is this model's."""
    seconds: float
    peak_memory_mb: int
    truncated: int
    """Dialogues of which it did not read a part."""
    read: Mapping[str, int]
    """How many dialogues it has read ``whole``, from the ``head``, the ``tail`` or ``both``, or in ``windows``."""
    resumed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SkippedModel:
    """A model that was left out, and why."""

    model: str
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanScore:
    """A mean over dialogues with its confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Combined ROUGE of the ensemble minus that of the best single model."""

    over: str
    combined: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """ROUGE of every model and of the ensemble, on the dialogues that have references."""

    dialogues: int
    granularity: str
    multi_reference: str
    systems: Mapping[str, Mapping[str, MeanScore]]
    """By system, then by metric."""
    gain: Gain


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinationMetadata:
    """The content of ensemble_metadata_<time>.json."""

    created: str
    input: InputFile
    output: str
    combiner: CombinerInfo
    strategy: Mapping[str, Any]
    generation: Mapping[str, Any]
    models: Sequence[CombinedModel]
    errors: Sequence[SkippedModel]
    scores: Scores | None
    """None where the input has no references."""
    seconds_to_combine: float
    versions: Mapping[str, str]


def score_texts(
    rows: Sequence[Dialogue], texts: Mapping[str, Sequence[str]], *, granularity: str, scoring: Scoring, seed: int
) -> Scores | None:
    """Score the summaries of each system, `ENSEMBLE` among them, on the rows with references; None without any."""
    indices = [index for index, row in enumerate(rows) if row.summaries]
    if not indices:
        return None
    from yoyak.scoring.bootstrap import bootstrap_intervals, paired_bootstrap
    from yoyak.scoring.metrics import METRICS
    from yoyak.scoring.rouge import rouge

    bootstrap: dict[str, Any] = {
        "samples": scoring.bootstrap_samples,
        "confidence": scoring.confidence,
        "seed": seed,
    }
    references = [rows[index].summaries for index in indices]
    rouge_scores = {
        name: rouge(
            [written[index] for index in indices],
            references,
            granularity=granularity,
            multi_reference=scoring.multi_reference,
            weights=scoring.weights,
        )
        for name, written in texts.items()
    }
    systems = {
        name: {
            metric: MeanScore(mean=round(interval.mean, 6), low=round(interval.low, 6), high=round(interval.high, 6))
            for metric in METRICS
            for interval in bootstrap_intervals(values[metric][None], **bootstrap)
        }
        for name, values in rouge_scores.items()
    }
    best = max((name for name in texts if name != ENSEMBLE), key=lambda name: systems[name]["combined"].mean)
    comparison = paired_bootstrap(rouge_scores[ENSEMBLE]["combined"], rouge_scores[best]["combined"], **bootstrap)
    return Scores(
        dialogues=len(indices),
        granularity=granularity,
        multi_reference=scoring.multi_reference,
        systems=systems,
        gain=Gain(
            over=best,
            combined=round(comparison.difference, 6),
            low=round(comparison.low, 6),
            high=round(comparison.high, 6),
            p_value=round(comparison.p_value, 6),
        ),
    )
