"""ensembles/<name>/info.json: a human-readable description of a strategy over candidates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from yoyak.ensemble.combine import Combiner
from yoyak.params.ensemble import Likelihood, Mbr, Stack
from yoyak.scoring.ensembles import StrategyChoice

INFO_FILE = "info.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class CombinerInfo:
    """How a combiner chooses, and from which candidates."""

    type: str
    granularity: str
    utility: str | None
    """The utility of `mbr` in words."""
    members: Sequence[str]
    weights: Mapping[str, float]
    pass_through: bool
    candidates: str
    """The candidates that it considers, in words."""
    scorers: Sequence[str]
    """The members whose likelihoods of all candidates it uses."""
    reranker: str | None
    """What `stack` has learned, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleInfo(CombinerInfo):
    """A combiner's description, with counts over all splits."""

    cross_fitted: bool
    """Whether it learned from dev, so that each dev dialogue is combined by a fit that has not seen it."""
    dialogues: int
    candidates_per_dialogue: float
    different_per_dialogue: float
    repaired_scores: int
    """Number of candidate scores that were not finite."""
    choice: StrategyChoice | None
    """What `auto` has chosen."""


def describe_combiner(combiner: Combiner) -> CombinerInfo:
    """Describe how a combiner chooses, and from which candidates."""
    strategy = combiner.strategy
    return CombinerInfo(
        type=strategy.type,
        granularity=combiner.granularity,
        utility=_describe_utility(strategy, combiner.granularity) if isinstance(strategy, Mbr) else None,
        members=list(combiner.weights),
        weights={member: round(weight, 6) for member, weight in combiner.weights.items()},
        pass_through=combiner.pass_through,
        candidates=_describe_candidates(strategy),
        scorers=list(combiner.scorers),
        reranker=_describe_reranker(combiner),
    )


def _describe_reranker(combiner: Combiner) -> str | None:
    if not isinstance(combiner.strategy, Stack):
        return None
    model = combiner.model
    if model is None:
        return f"no ranker gains enough on dev: the summaries of {next(iter(combiner.weights))}"
    learned = f"{model.kind}, margin {model.margin:.4f}" if model.kind else "no ranker gains enough on dev"
    unlike = "" if model.lowest_score is None else f", mbr where its score is below {model.lowest_score:.4f}"
    return f"{learned}: else the summaries of {model.member}{unlike}"


def _describe_candidates(strategy: object) -> str:
    if isinstance(strategy, Mbr) and strategy.candidates:
        return f"the best {strategy.candidates} of each member"
    return "all of each member" if isinstance(strategy, Mbr | Likelihood | Stack) else "the best of each member"


def _describe_utility(strategy: Mbr, granularity: str) -> str:
    rouge = "{:g} ROUGE-1 + {:g} ROUGE-2 + {:g} ROUGE-L".format(*strategy.rouge_weights) + f" by {granularity}"
    if strategy.utility == "mix":
        return f"{strategy.chrf_share:g} chrF + {1 - strategy.chrf_share:g} ({rouge})"
    return "chrF" if strategy.utility == "chrf" else rouge
