"""How the models are combined: the strategy that was named, and its weights for these models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import get_args

from yoyak import project
from yoyak.combining.sources import Source
from yoyak.ensemble import combine, weights
from yoyak.ensemble.combine import Combiner
from yoyak.errors import UserError, nearest
from yoyak.params.ensemble import Ensemble, OfCandidates, Weighted


def choose_strategy(name: str, settings: Ensemble) -> OfCandidates:
    """Return a strategy by its name in params.yaml, or a plain one by its type."""
    if name in settings.strategies:
        return settings.strategies[name]
    types = {kind.model_fields["type"].annotation.__args__[0]: kind for kind in get_args(get_args(OfCandidates)[0])}
    if name in ("soft", "soup"):
        raise UserError(
            f"--strategy {name} combines models, not summaries: use it in ensemble.models, with `yoyak blend`."
        )
    if name not in types:
        raise UserError(f"--strategy: there is no '{name}'{nearest(name, [*settings.strategies, *types])}.")
    return types[name](type=name)


def load_fitted(strategy: str) -> Combiner | None:
    """Return what the pipeline in this folder fitted for a strategy of params.yaml, or None."""
    folder = project.ensemble_folder(strategy)
    return combine.load(folder) if (folder / combine.FILE).is_file() else None


def build_combiner(
    members: Sequence[str],
    sources: Mapping[str, Source],
    *,
    strategy: OfCandidates,
    granularity: str,
    given: Sequence[float] | None,
    fitted: Combiner | None,
) -> Combiner:
    """Return the strategy with the weights of these members, or what the pipeline fitted for them.

    Args:
        members: Labels of the models that take part.
        sources: The models by label.
        strategy: How candidates are combined.
        granularity: Units of the strategy's scores.
        given: Weights in the order in which the models were named; None uses those of the strategy.
        fitted: What the pipeline fitted; used if it was fitted for these members.

    Raises UserError for weights that are wrong or unknown.
    """

    def with_weights(values: Mapping[str, float]) -> Combiner:
        return Combiner(strategy=strategy, granularity=granularity, weights=values)

    rule = getattr(strategy, "weights", None)
    if len(members) == 1:
        return with_weights({members[0]: 1.0})
    if strategy.needs_likelihoods or (fitted is not None and fitted.scorers and rule is None):
        raise UserError(
            f"{strategy.type} asks each model how likely it finds the others' summaries, and `yoyak combine` runs one "
            "after the other: choose mbr or vote, or serve the ensemble that `yoyak register` registered."
        )
    if given is not None:
        if rule is None:
            raise UserError(f"{strategy.type} has no weights: leave --weights out, or choose another strategy.")
        return with_weights(weights.normalised({name: given[sources[name].index] for name in members}, members))
    if rule == "equal":
        return with_weights(weights.equal(members))
    scores = {name: score for name in members if (score := sources[name].dev_score) is not None}
    if rule == "dev" and len(scores) == len(members):
        return with_weights(weights.by_score(scores))
    # What the pipeline fitted holds for its own members only: each model must be one of them.
    trained_as = {name: sources[name].member for name in members}
    same = fitted is not None and sorted(trained_as.values()) == sorted(fitted.weights)
    if fitted is not None and (same or (fitted.pass_through and set(fitted.weights) <= {*trained_as.values()})):
        return _rename_members(fitted, {member: name for name, member in trained_as.items()})
    if rule is None:
        known = ", ".join(fitted.weights) if fitted is not None else "no members yet"
        raise UserError(
            f"{strategy.type} was fitted for {known}, not for {', '.join(trained_as.values())}: name those models "
            "(`dvc repro` fits it), or choose mbr or vote."
        )
    if isinstance(rule, dict):
        by_label = {name: rule[trained_as[name]] for name in members if trained_as[name] in rule}
        return with_weights(weights.normalised(by_label, members))
    if isinstance(strategy, Weighted):
        unscored = next((name for name in members if name not in scores), "")
        reason = f"the dev score of {unscored} is not known" if rule == "dev" else "its weights are fitted on dev"
        raise UserError(f"{strategy.type}: {reason}; give --weights, one number for each model, or choose vote.")
    return with_weights(weights.equal(members))


def _rename_members(combiner: Combiner, names: Mapping[str, str]) -> Combiner:
    renamed = {names[member]: weight for member, weight in combiner.weights.items()}
    model = combiner.model and replace(combiner.model, member=names[combiner.model.member])
    return replace(combiner, weights=renamed, model=model)
