"""The section ``ensemble`` of params.yaml: which strategies make one summary of the members' candidates, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from yoyak.params.base import ROUGE_WEIGHTS, Granularity, Name, RougeWeights, Section, Share

Weights = Literal["equal", "dev", "fit"] | dict[Name, Annotated[float, Field(ge=0)]]
"""``equal``, ``dev`` (the member's combined ROUGE on dev), ``fit`` (fitted on dev), or a weight for each member."""

MinMembers = Annotated[int, Field(gt=0)]
Views = Annotated[int, Field(ge=0)]
Processes = Annotated[int, Field(gt=0)]


class Strategy(Section):
    """What every strategy has."""

    members: list[Name] | None = None
    """Members that take part; null takes all."""

    @model_validator(mode="after")
    def _members_once(self) -> Strategy:
        if self.members is not None and (not self.members or len(set(self.members)) < len(self.members)):
            raise ValueError("members must name at least one, and none twice; leave it out to take all")
        weights = getattr(self, "weights", None)
        if isinstance(weights, dict) and not any(weights.values()):
            raise ValueError("weights must hold one that is above 0")
        return self


class Vote(Strategy):
    """Hard voting on tokens: each member's best summary, aligned as in ROVER, then the majority in each slot."""

    type: Literal["vote"]
    weights: Weights = "equal"


class VotePositional(Strategy):
    """Hard voting position by position, with no alignment: right only for summaries of the same length."""

    type: Literal["vote_positional"]
    weights: Weights = "equal"


class Weighted(Strategy):
    """Aligned voting in which the members have weights."""

    type: Literal["weighted"]
    weights: Weights = "dev"


class Mbr(Strategy):
    """Minimum Bayes risk: of all members' candidates the one most like the others."""

    type: Literal["mbr"]
    weights: Weights = "equal"
    utility: Literal["rouge", "chrf", "mix"] = "rouge"
    """What "like" means: ROUGE at ``ensemble.granularity``, chrF, or a mix of both."""
    rouge_weights: RougeWeights = ROUGE_WEIGHTS
    """Shares of ROUGE-1, ROUGE-2 and ROUGE-L."""
    chrf_share: Share = 0.5
    """Share of chrF in ``mix``."""
    candidates: Annotated[int, Field(gt=0)] | None = None
    """Candidates taken of each member, best first; null takes all."""

    @model_validator(mode="after")
    def _rouge_counts(self) -> Mbr:
        if self.utility != "chrf" and not any(self.rouge_weights):
            raise ValueError("rouge_weights must hold one that is above 0")
        return self


class Stack(Strategy):
    """A linear reranker that is fitted on dev to the combined ROUGE of the candidates."""

    type: Literal["stack"]
    folds: Annotated[int, Field(gt=1)] = 5
    """Parts of dev, by dialogue: what is said of dev is said of dialogues that the reranker was not fitted to."""


class Soft(Strategy):
    """The members' next-token probabilities, averaged at every step of one search."""

    type: Literal["soft"]
    members: list[Name]
    weights: Weights = "equal"


class Soup(Strategy):
    """One model whose weights are the average of those of members of the same architecture and tokenizer."""

    type: Literal["soup"]
    members: list[Name]
    method: Literal["uniform", "greedy"] = "greedy"
    """``greedy`` adds the members one by one, best first, as long as dev does not get worse."""


OfCandidates = Annotated[Vote | VotePositional | Weighted | Mbr | Stack, Field(discriminator="type")]
OfModels = Annotated[Soft | Soup, Field(discriminator="type")]


class Ensemble(Section):
    """How many models make one better summary."""

    granularity: Granularity = "morpheme"
    """Tokens in which the members' summaries meet."""
    min_members: MinMembers = 2
    """With fewer usable members there is no ensemble; 1 passes a single member's summaries through, marked so."""
    tta: Views = 0
    """Lightly changed versions of each dialogue that every member summarizes too: more candidates."""
    processes: Processes = 1
    """Processes that share the dialogues; the result does not depend on it."""
    strategies: dict[Name, OfCandidates] = {}
    """Strategies over the members' candidates, by a name of yours."""
    models: dict[Name, OfModels] = {}
    """Strategies that run or make models, by a name of yours."""

    @model_validator(mode="after")
    def _one_name_each(self) -> Ensemble:
        twice = sorted(self.strategies.keys() & self.models.keys())
        if twice:
            raise ValueError(f"'{twice[0]}' is in strategies and in models: give one of them another name")
        return self

    @property
    def every(self) -> dict[str, OfCandidates | OfModels]:
        """All strategies by name."""
        return {**self.strategies, **self.models}
