"""The results of an evaluation as typed values, and their files: summary.json and dialogues.csv."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.scoring.bootstrap import Comparison, Interval
from yoyak.scoring.metrics import METRICS

SUMMARY_FILE, DIALOGUES_FILE = "summary.json", "dialogues.csv"
ALL = "all"
"""The slice name of an entire split."""
DIGITS = 6

SystemKind = Literal["member", "ensemble", "baseline", "oracle"]
Figures = TypeVar("Figures", bound=Interval | Comparison)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrimaryScore:
    """The score that models are selected by."""

    granularity: str
    multi_reference: str
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A split, or one slice of it, that is scored separately."""

    split: str
    slice: str
    n: int
    """Number of dialogues."""

    @property
    def label(self) -> str:
        return self.split if self.slice == ALL else f"{self.split}, {self.slice}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemScore:
    """The mean score of one system on one part, by one metric."""

    system: str
    part: Part
    granularity: str
    multi_reference: str
    metric: str
    interval: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemComparison:
    """A paired difference, ``system`` minus ``against``, at the primary score's granularity and protocol."""

    system: str
    against: str
    part: Part
    metric: str
    gain: Interval
    p_value: float

    def swapped(self) -> SystemComparison:
        """Return the same comparison with the two systems swapped."""
        gain = Interval(mean=-self.gain.mean, low=-self.gain.high, high=-self.gain.low, n=self.gain.n)
        return replace(self, system=self.against, against=self.system, gain=gain)


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSummary:
    """Mean scores and comparisons of all systems, and the best ones on dev."""

    primary: PrimaryScore
    confidence: float
    bootstrap_samples: int
    systems: Mapping[str, SystemKind]
    """Kind of each system, by name."""
    parts: tuple[Part, ...]
    scores: tuple[SystemScore, ...]
    comparisons: tuple[SystemComparison, ...]
    best_member: str
    best_ensemble: str | None
    """None if there are no ensembles."""
    best_baseline: str

    def primary_means(self, system: str) -> dict[str, dict[str, float]]:
        """Return a system's means on entire splits, ``{split: {metric: mean}}``, at the primary granularity."""
        means: dict[str, dict[str, float]] = {}
        for score in self.scores:
            if (
                score.system == system
                and score.part.slice == ALL
                and score.granularity == self.primary.granularity
                and score.multi_reference == self.primary.multi_reference
            ):
                means.setdefault(score.part.split, {})[score.metric] = score.interval.mean
        return means


class DialogueScores(NamedTuple):
    """A row of dialogues.csv: one system's scores of one dialogue, by the primary granularity and protocol."""

    split: str
    fname: str
    slice: str
    topic: str
    turns: int
    dialogue_chars: int
    system: str
    scores: tuple[float, ...]
    """By `METRICS`."""

    @property
    def combined(self) -> float:
        return self.scores[METRICS.index("combined")]


def write_summary(summary: EvaluationSummary, folder: str | os.PathLike[str]) -> None:
    """Write summary.json into ``folder``."""
    write_json(Path(folder) / SUMMARY_FILE, _to_json(summary))


def read_evaluation(folder: str | os.PathLike[str]) -> EvaluationSummary:
    """Read the summary of an evaluation from its folder. Raises UserError if it is missing or damaged."""
    path = Path(folder) / SUMMARY_FILE
    name = path.as_posix()
    try:
        return _from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UserError(
            f"{name} is missing: run the evaluate stage first (dvc repro evaluate), or `dvc pull`."
        ) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{name} is not valid JSON ({error}): run the evaluate stage again.") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{name} is not what the evaluate stage writes ({type(error).__name__}: {error}): "
            "run it again (dvc repro -f evaluate)."
        ) from error


def write_dialogue_scores(dialogues: Iterable[DialogueScores], path: str | os.PathLike[str]) -> None:
    """Write one CSV row per dialogue and system."""
    with Path(path).open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*DialogueScores._fields[:-1], *METRICS])
        writer.writerows([*row[:-1], *row.scores] for row in dialogues)


def round_figures(value: Figures) -> Figures:
    """Round figures, so that files are identical on machines whose arithmetic differs in the last bit."""
    figures = {field.name: getattr(value, field.name) for field in fields(value)}
    changes: Any = {name: round(figure, DIGITS) for name, figure in figures.items() if isinstance(figure, float)}
    return replace(value, **changes)


def _to_json(summary: EvaluationSummary) -> dict[str, Any]:
    splits: dict[str, dict[str, int]] = {}
    for part in summary.parts:
        splits.setdefault(part.split, {})[part.slice] = part.n
    primary = summary.primary
    return {
        "primary": {
            "granularity": primary.granularity,
            "multi_reference": primary.multi_reference,
            "metric": primary.metric,
        },
        "confidence": summary.confidence,
        "bootstrap_samples": summary.bootstrap_samples,
        "systems": [{"name": name, "kind": kind} for name, kind in summary.systems.items()],
        "splits": splits,
        "scores": [
            {
                "system": score.system,
                "split": score.part.split,
                "slice": score.part.slice,
                "granularity": score.granularity,
                "multi_reference": score.multi_reference,
                "metric": score.metric,
                "mean": score.interval.mean,
                "low": score.interval.low,
                "high": score.interval.high,
                "n": score.interval.n,
            }
            for score in summary.scores
        ],
        "comparisons": [
            {
                "system": comparison.system,
                "against": comparison.against,
                "split": comparison.part.split,
                "slice": comparison.part.slice,
                "metric": comparison.metric,
                "difference": comparison.gain.mean,
                "low": comparison.gain.low,
                "high": comparison.gain.high,
                "p_value": comparison.p_value,
                "n": comparison.gain.n,
            }
            for comparison in summary.comparisons
        ],
        "best_member": summary.best_member,
        "best_ensemble": summary.best_ensemble,
        "best_baseline": summary.best_baseline,
    }


def _from_json(value: Mapping[str, Any]) -> EvaluationSummary:
    parts = {
        (split, name): Part(split=split, slice=name, n=int(n))
        for split, sizes in value["splits"].items()
        for name, n in sizes.items()
    }
    if not parts:
        raise ValueError("no splits")
    return EvaluationSummary(
        primary=PrimaryScore(**value["primary"]),
        confidence=float(value["confidence"]),
        bootstrap_samples=int(value["bootstrap_samples"]),
        systems={row["name"]: row["kind"] for row in value["systems"]},
        parts=tuple(parts.values()),
        scores=tuple(
            SystemScore(
                system=row["system"],
                part=parts[row["split"], row["slice"]],
                granularity=row["granularity"],
                multi_reference=row["multi_reference"],
                metric=row["metric"],
                interval=_interval(row, "mean"),
            )
            for row in value["scores"]
        ),
        comparisons=tuple(
            SystemComparison(
                system=row["system"],
                against=row["against"],
                part=parts[row["split"], row["slice"]],
                metric=row["metric"],
                gain=_interval(row, "difference"),
                p_value=float(row["p_value"]),
            )
            for row in value["comparisons"]
        ),
        best_member=value["best_member"],
        best_ensemble=value["best_ensemble"],
        best_baseline=value["best_baseline"],
    )


def _interval(row: Mapping[str, Any], mean: str) -> Interval:
    return Interval(mean=float(row[mean]), low=float(row["low"]), high=float(row["high"]), n=int(row["n"]))
