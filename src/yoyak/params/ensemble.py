"""The section ``ensemble`` of params.yaml: the strategies that combine several members into one summary."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, model_validator

from yoyak.params.base import ROUGE_WEIGHTS, Granularity, Name, RougeWeights, Section, Share

Weights = Literal["equal", "dev", "fit"] | dict[Name, Annotated[float, Field(ge=0)]]
"""``equal``, ``dev`` (the member's combined ROUGE on dev), ``fit`` (fitted on dev), or a weight for each member."""

MinMembers = Annotated[int, Field(gt=0)]
Views = Annotated[int, Field(ge=0)]
Processes = Annotated[int, Field(gt=0)]


class Strategy(Section):
    """Settings common to all strategies."""

    members: list[Name] | None = None
    """Members that take part; null for all."""

    @property
    def uses_likelihoods(self) -> bool:
        """Whether it uses the members' likelihoods of each other's candidates."""
        return self.needs_likelihoods

    @property
    def needs_likelihoods(self) -> bool:
        """Whether it cannot do without them."""
        return False

    @model_validator(mode="after")
    def _members_are_unique(self) -> Strategy:
        if self.members is not None and (not self.members or len(set(self.members)) < len(self.members)):
            raise ValueError("members must name at least one member, and none twice; omit it for all members")
        weights = getattr(self, "weights", None)
        if isinstance(weights, dict) and not any(weights.values()):
            raise ValueError("at least one of the weights must be above 0")
        return self


class Vote(Strategy):
    """Hard voting on tokens: each member's best summary, aligned as in ROVER, then the majority in each slot."""

    type: Literal["vote"]
    weights: Weights = "equal"


class VotePositional(Strategy):
    """Hard voting position by position, without alignment: meaningful only for summaries of the same length."""

    type: Literal["vote_positional"]
    weights: Weights = "equal"


class Weighted(Strategy):
    """Aligned voting with a weight per member."""

    type: Literal["weighted"]
    weights: Weights = "dev"


class Mbr(Strategy):
    """Minimum Bayes risk: of all members' candidates, the one most similar to the others."""

    type: Literal["mbr"]
    weights: Weights = "equal"
    utility: Literal["rouge", "chrf", "mix"] = "rouge"
    """Similarity measure: ROUGE at ``ensemble.granularity``, chrF, or a mix of both."""
    rouge_weights: RougeWeights = ROUGE_WEIGHTS
    """Weights of ROUGE-1, ROUGE-2 and ROUGE-L."""
    chrf_share: Share = 0.5
    """Share of chrF in ``mix``."""
    candidates: Annotated[int, Field(gt=0)] | None = None
    """Candidates to consider per member, best first; null for all."""
    length_penalty: float | None = None
    """Weighs each candidate by the mean of the members' log-likelihoods of it, divided by its number of characters to
    the power of this: 0 is its likelihood, which short summaries have, 1 that of an average character. null lets all
    candidates of a member count the same."""

    @property
    def needs_likelihoods(self) -> bool:
        """Candidates are weighed by them."""
        return self.length_penalty is not None

    @model_validator(mode="after")
    def _rouge_counts(self) -> Mbr:
        if self.utility != "chrf" and not any(self.rouge_weights):
            raise ValueError("at least one of rouge_weights must be above 0")
        return self


class Likelihood(Strategy):
    """Consensus likelihood: the candidate that all members together find most likely."""

    type: Literal["likelihood"]
    weights: Weights = "equal"
    """Of the members' log-likelihoods; every member's candidates can be chosen."""
    length_penalty: float = 1.0
    """The exponent of the number of characters that a log-likelihood is divided by: 1 is the mean of a character, 0
    the log-likelihood of the whole text. Above 1 favours longer summaries."""

    @property
    def needs_likelihoods(self) -> bool:
        """It chooses by nothing else."""
        return True


Ranker = Literal["ridge", "pairwise", "trees"]


class Stack(Strategy):
    """A reranker of candidates, fitted on dev to their combined ROUGE and pulled towards the best member."""

    type: Literal["stack"]
    folds: Annotated[int, Field(gt=1)] = 5
    """Number of folds for cross-fitting on dev: each fold is reranked by a model fitted to the others."""
    rankers: Annotated[list[Ranker], Field(min_length=1)] = ["ridge", "pairwise", "trees"]
    """Models to choose from by cross-validation: a ridge regression, a linear model of which of two candidates is
    better, and boosted trees."""
    likelihoods: bool = True
    """Use the members' likelihoods of each other's candidates as features."""
    unfamiliar: Literal["mbr", "rerank"] = "mbr"
    """What chooses where the best member is less sure of its summary than on 99 % of dev, so that dev says little about
    the dialogue: minimum Bayes risk, with each member's dev score as its weight, or the reranker as elsewhere."""

    @property
    def uses_likelihoods(self) -> bool:
        """Whether they are features."""
        return self.likelihoods


Option = Annotated[Vote | VotePositional | Weighted | Mbr | Likelihood | Stack, Field(discriminator="type")]


class Auto(Strategy):
    """Whichever of the members and of several strategies is best on dev by cross-validation."""

    type: Literal["auto"]
    folds: Annotated[int, Field(gt=1)] = 5
    """Number of folds for cross-validation, and of those around it that tell by how much the choice flatters."""
    options: Annotated[dict[Name, Option], Field(min_length=1)] = {
        "weighted": Weighted(type="weighted"),
        "mbr": Mbr(type="mbr"),
        "mbr_dev": Mbr(type="mbr", weights="dev"),
        "mbr_fit": Mbr(type="mbr", weights="fit"),
        "likelihood": Likelihood(type="likelihood"),
        "likelihood_dev": Likelihood(type="likelihood", weights="dev"),
        "likelihood_fit": Likelihood(type="likelihood", weights="fit"),
        "stack": Stack(type="stack"),
    }
    """Strategies to choose from, by a name of your choice; every single member is an option too. Those that need
    likelihoods are left out if no member can score the candidates."""

    @property
    def uses_likelihoods(self) -> bool:
        """Whether an option does."""
        return any(option.uses_likelihoods for option in self.options.values())

    @model_validator(mode="after")
    def _options_take_all_members(self) -> Auto:
        named = next((name for name, option in self.options.items() if option.members is not None), None)
        if named is not None:
            raise ValueError(f"options.{named} cannot have members of its own: name them once, for all options")
        return self


class Soft(Strategy):
    """The members' next-token probabilities, averaged at every step of a single search."""

    type: Literal["soft"]
    members: list[Name]
    weights: Weights = "equal"


class Soup(Strategy):
    """One model with the averaged weights of members that share an architecture and tokenizer."""

    type: Literal["soup"]
    members: list[Name]
    method: Literal["uniform", "greedy"] = "greedy"
    """``greedy`` adds members one by one, best first, keeping each that does not lower the dev score."""


OfCandidates = Annotated[
    Vote | VotePositional | Weighted | Mbr | Likelihood | Stack | Auto, Field(discriminator="type")
]
OfModels = Annotated[Soft | Soup, Field(discriminator="type")]


class KeptTrials(Section):
    """The models that a study kept, best first."""

    study: Name
    top_k: Annotated[int, Field(gt=0)]


class Ensemble(Section):
    """How several members are combined."""

    granularity: Granularity = "morpheme"
    """Unit of text for voting and comparison, independent of the members' tokenizers."""
    min_members: MinMembers = 2
    """Fewer usable members than this is an error; with 1, a single member is passed through and marked as such."""
    tta: Views = 0
    """Test-time augmentation: number of views of each dialogue that every member also summarizes."""
    processes: Processes = 1
    """Number of worker processes; the result does not depend on it."""
    strategies: dict[Name, OfCandidates] = {}
    """Strategies over the members' candidates, by a name of your choice."""
    models: dict[Name, OfModels] = {}
    """Strategies that run models, by a name of your choice."""
    members: dict[Name, KeptTrials] = {}
    """Ensembles of the models that a study kept, which are not members of this file: by the name of the study of the
    kind generation that combines them. studies/dvc.yaml runs the sweep, then the ensemble."""

    @model_validator(mode="before")
    @classmethod
    def _kept_models_have_a_name(cls, values: Any) -> Any:
        members = values.get("members") if isinstance(values, dict) else None
        if isinstance(members, dict) and isinstance(members.get("study"), str):
            raise ValueError(
                f"members has to say which study combines the models: kept: {{study: {members['study']}, "
                f"top_k: {members.get('top_k', 3)}}}"
            )
        return values

    @model_validator(mode="after")
    def _names_are_unique(self) -> Ensemble:
        duplicates = sorted(self.strategies.keys() & self.models.keys())
        if duplicates:
            raise ValueError(f"'{duplicates[0]}' is in both strategies and models: rename one of them")
        return self

    @property
    def every(self) -> dict[str, OfCandidates | OfModels]:
        """All strategies by name."""
        return {**self.strategies, **self.models}

    def without(self, failed: Collection[str]) -> Ensemble:
        """Return the ensembles that are left if these members and strategies have no summaries."""
        return self.model_copy(
            update={
                "strategies": _drop(self.strategies, failed),
                "models": _drop(self.models, failed),
            }
        )


AnyStrategy = TypeVar("AnyStrategy", bound=Strategy)


def without_members(strategy: AnyStrategy, failed: Collection[str]) -> AnyStrategy:
    """Return a strategy that uses all its members but these; it may be left without any."""
    changes: dict[str, Any] = {}
    if strategy.members is not None:
        changes["members"] = [member for member in strategy.members if member not in failed]
    weights = getattr(strategy, "weights", None)
    if isinstance(weights, dict):
        changes["weights"] = {member: weight for member, weight in weights.items() if member not in failed}
    if isinstance(strategy, Auto):
        changes["options"] = {name: without_members(option, failed) for name, option in strategy.options.items()}
    return strategy.model_copy(update=changes)


def _drop(strategies: Mapping[str, AnyStrategy], failed: Collection[str]) -> dict[str, AnyStrategy]:
    return {name: without_members(strategy, failed) for name, strategy in strategies.items() if name not in failed}
