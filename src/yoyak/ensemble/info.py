"""ensembles/<name>/info.json: how a strategy over candidates chooses, for a person to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoyak.ensemble.combine import Combiner
from yoyak.params.ensemble import Mbr, Stack

INFO_FILE = "info.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinerInfo:
    """How a combiner chooses, and from what."""

    type: str
    granularity: str
    utility: str | None
    """The utility of `mbr` in words."""
    members: Sequence[str]
    weights: Mapping[str, float]
    pass_through: bool
    candidates: str
    """Which of the members' candidates it considers, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleInfo(CombinerInfo):
    """The same, with counts over all splits."""

    cross_fitted: bool
    """Whether it learned from dev, so that dev is combined by several fits that have not seen the dialogue."""
    dialogues: int
    candidates_per_dialogue: float
    different_per_dialogue: float
    repaired_scores: int
    """Scores of candidates that were not finite."""


def describe_combiner(combiner: Combiner) -> CombinerInfo:
    """Return how a combiner chooses, and from what."""
    strategy = combiner.strategy
    return CombinerInfo(
        type=strategy.type,
        granularity=combiner.granularity,
        utility=_utility(strategy, combiner.granularity) if isinstance(strategy, Mbr) else None,
        members=list(combiner.weights),
        weights={member: round(weight, 6) for member, weight in combiner.weights.items()},
        pass_through=combiner.pass_through,
        candidates=_candidates(strategy),
    )


def _candidates(strategy: object) -> str:
    if isinstance(strategy, Mbr) and strategy.candidates:
        return f"the best {strategy.candidates} of each member"
    return "all of each member" if isinstance(strategy, Mbr | Stack) else "the best of each member"


def _utility(strategy: Mbr, granularity: str) -> str:
    rouge = "{:g} ROUGE-1 + {:g} ROUGE-2 + {:g} ROUGE-L".format(*strategy.rouge_weights) + f" by {granularity}"
    if strategy.utility == "mix":
        return f"{strategy.chrf_share:g} chrF + {1 - strategy.chrf_share:g} ({rouge})"
    return "chrF" if strategy.utility == "chrf" else rouge
