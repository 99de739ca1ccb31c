"""The ensemble analysis as typed values, and its file, ensembles.json.

`ensemble.analysis` computes it and defines each figure; the report and MLflow present it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.scoring.bootstrap import Comparison, Interval
from yoyak.scoring.results import ALL, PrimaryScore

ENSEMBLES_FILE = "ensembles.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyChoice:
    """What an ensemble of the type ``auto`` has chosen by cross-validation on dev."""

    chosen: str
    options: Mapping[str, float]
    """Mean combined ROUGE of each option on dev, each dialogue by a fit that has not seen it."""
    in_folds: tuple[str, ...]
    """What is chosen without each fold."""
    naive: float
    """The mean by which the option was chosen."""
    nested: float
    """The mean of what is chosen without each fold, on that fold: it has seen neither fits nor choice."""

    @property
    def flattery(self) -> float:
        """By how much choosing the highest of several means flatters what is chosen."""
        return self.naive - self.nested


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyInfo:
    """The configuration of an ensemble."""

    type: str
    members: tuple[str, ...]
    pass_through: bool
    """Whether it has a single member, whose summaries it passes through."""
    reranker: str | None = None
    """What `stack` has learned, in words."""
    choice: StrategyChoice | None = None
    """What `auto` has chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """A member's contribution to an ensemble."""

    change: Comparison | None
    """The score with all members minus the score without this one; None if the ensemble was not run without it."""
    share: float
    """Share of the ensemble's summaries that the member wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyResult:
    """An ensemble's results on a part of the data."""

    score: Interval
    gain: Comparison
    """Its score minus that of the best member on dev."""
    captured: float | None
    """Share of the headroom that it captures; None if there is no headroom."""
    contributions: Mapping[str, Contribution]
    """By member."""
    of_several: float
    """Share of its summaries that combine text of several members."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Similarity of the members' own summaries, as [members, members]."""

    rouge: tuple[tuple[float, ...], ...]
    same: tuple[tuple[float, ...], ...]
    """Share of dialogues for which two members produce the same text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthBin:
    """The ensembles' gains on dialogues of similar length."""

    label: str
    n: int
    gains: Mapping[str, Comparison]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Dialogues binned by length."""

    by: str
    """Unit of length: ``turns`` or ``characters``."""
    bins: tuple[LengthBin, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartAnalysis:
    """The ensembles on one split or one slice of it."""

    n: int
    best_member: Interval
    oracle: Interval
    """Score of the best candidate of all members for each dialogue, chosen by the references."""
    headroom: float
    """The oracle's gain over the best member."""
    strategies: Mapping[str, StrategyResult]
    agreement: Agreement
    lengths: Lengths


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleAnalysis:
    """All ensembles on all parts, by the primary score; members and strategies are ordered by it on dev, best first."""

    primary: PrimaryScore
    confidence: float
    best_member: str
    best_ensemble: str | None
    """None if there are no ensembles."""
    conclusion: str
    members: tuple[str, ...]
    strategies: Mapping[str, StrategyInfo]
    splits: Mapping[str, Mapping[str, PartAnalysis]]
    """By split and slice; the slice `ALL` is the entire split."""

    def headline_metrics(self) -> dict[str, float | None]:
        """Return the headline metrics for MLflow: ``ensemble/<name>/<split>/gain`` and so on."""
        metrics: dict[str, float | None] = {}
        for split, parts in self.splits.items():
            analysis = parts[ALL]
            for name, result in analysis.strategies.items():
                metrics[f"ensemble/{name}/{split}/gain"] = result.gain.difference
                metrics[f"ensemble/{name}/{split}/p_value"] = result.gain.p_value
                metrics[f"ensemble/{name}/{split}/captured"] = result.captured
            metrics[f"ensemble/oracle/{split}/combined"] = analysis.oracle.mean
        return metrics


def write_analysis(analysis: EnsembleAnalysis, folder: str | os.PathLike[str]) -> None:
    """Write ensembles.json into ``folder``."""
    write_json(Path(folder) / ENSEMBLES_FILE, asdict(analysis))


def read_analysis(folder: str | os.PathLike[str]) -> EnsembleAnalysis:
    """Read the analysis of ensembles from an evaluation's folder. Raises UserError if it is missing or damaged."""
    path = Path(folder) / ENSEMBLES_FILE
    name = path.as_posix()
    try:
        return TypeAdapter(EnsembleAnalysis).validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(
            f"{name} is missing: run the evaluate stage first (dvc repro evaluate), or `dvc pull`."
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        location = ".".join(map(str, first["loc"]))
        raise UserError(
            f"{name} is not what the evaluate stage writes ({location or 'top level'}: {first['msg']}): "
            "run it again (dvc repro -f evaluate)."
        ) from error
