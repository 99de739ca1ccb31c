"""Model soups: one model whose weights are the mean of those of several (Wortsman et al. 2022)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.folds import make_folds, mean_of

Ingredients = tuple[str, ...]
"""Members whose weights are averaged, in the order in which they were added."""
Score = Callable[[TorchSummarizer], np.ndarray]
"""Scores a model on each dialogue of dev."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the greedy soup: a member that was tried."""

    member: str
    alone: float
    """Its own score on dev."""
    together: float
    """Dev score of the soup with it."""
    added: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Soup:
    """The members whose weights a soup averages."""

    ingredients: Ingredients
    steps: tuple[Step, ...] = ()
    """The steps of the greedy soup, in order; empty for a uniform one."""
    cross_fits: Mapping[Ingredients, Sequence[int]] | None = None
    """Greedy soups chosen without some rows of dev, with the indices of those rows; None if no choice was made."""


def choose_ingredients(
    members: Mapping[str, TorchSummarizer],
    method: Literal["uniform", "greedy"],
    dev_dialogues: Sequence[str],
    score: Score,
) -> Soup:
    """Choose which members to average; they must have the same architecture.

    ``greedy`` starts with the best member and tries the others, best first, keeping each that does not lower the score.
    ``uniform`` uses all members without scoring.
    """
    if method == "uniform" or len(members) == 1:
        return Soup(ingredients=tuple(members))
    scores: dict[Ingredients, np.ndarray] = {}

    def score_soup(ingredients: Ingredients) -> np.ndarray:
        # Folds mostly try the same soups, so each is scored once, on all rows.
        if ingredients not in scores:
            parts = [members[member] for member in ingredients]
            scores[ingredients] = score(parts[0] if len(parts) == 1 else average("soup", parts))
        return scores[ingredients]

    ingredients, steps = _add_greedily(list(members), score_soup, range(len(dev_dialogues)))
    cross_fits: dict[Ingredients, list[int]] = {}
    for fold in make_folds(dev_dialogues):
        chosen, _ = _add_greedily(list(members), score_soup, fold.fitted_to)
        cross_fits.setdefault(chosen, []).extend(fold.held_out)
    return Soup(ingredients=ingredients, steps=tuple(steps), cross_fits=cross_fits)


def _add_greedily(
    members: Sequence[str], score_soup: Callable[[Ingredients], np.ndarray], rows: Sequence[int]
) -> tuple[Ingredients, list[Step]]:
    """Return the greedily chosen ingredients by score on some rows of dev, and the steps."""
    alone = {member: mean_of(score_soup((member,)), rows) for member in members}
    first, *others = sorted(members, key=lambda member: -alone[member])
    ingredients: Ingredients = (first,)
    best = alone[first]
    steps = [Step(member=first, alone=best, together=best, added=True)]
    for member in others:
        together = mean_of(score_soup((*ingredients, member)), rows)
        steps.append(Step(member=member, alone=alone[member], together=together, added=together >= best))
        if together >= best:
            ingredients, best = (*ingredients, member), together
    return ingredients, steps


@torch.no_grad()
def average(name: str, members: Sequence[TorchSummarizer]) -> TorchSummarizer:
    """Return a new model with the mean weights, in fp32; integers, tokenizer and spec are the first member's."""
    model = copy.deepcopy(members[0].model)
    states = [member.model.state_dict() for member in members]
    # On the CPU in fp64, so that the mean of equal weights is exactly that weight on every device.
    mean = {
        key: torch.stack([state[key].cpu().double() for state in states]).mean(0).float()
        if value.is_floating_point()
        else value
        for key, value in states[0].items()
    }
    model.load_state_dict(mean)
    shortest = min(member.spec.max_input_tokens for member in members)
    return TorchSummarizer(
        model, members[0].tokenizer, replace(members[0].spec, member=name, max_input_tokens=shortest)
    )


def save(soup: TorchSummarizer, folder: Path) -> None:
    """Save a soup in the same format as a member: safetensors, tokenizer and yoyak.json."""
    soup.family.save(soup.model, soup.tokenizer, soup.spec, folder)
