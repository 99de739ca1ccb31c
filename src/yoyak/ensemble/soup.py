"""Model soups: one model whose weights are the mean of those of several (Wortsman et al. 2022)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import torch

from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.blending import ELSE
from yoyak.errors import UserError
from yoyak.models.spec import save_spec

FREE = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache"}
"""Values of a config that change nothing of what trained weights mean; so do those of dropout."""
READING = ("family", "prefix", "separator")
"""Values of a spec that say how a dialogue is put to the model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A member that was tried in the greedy soup."""

    member: str
    alone: float
    """Its own dev score."""
    together: float
    """Dev score of the soup with it."""
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Soup:
    """A soup and what is in it."""

    summarizer: TorchSummarizer
    taken: list[str]
    steps: list[Step]
    """In the order in which members were tried; none where nothing was measured."""

    @property
    def info(self) -> dict[str, Any]:
        """What was tried, for a person to read."""
        return {
            "taken": self.taken,
            "steps": [
                {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(step).items()}
                for step in self.steps
            ],
        }


def make_soup(
    name: str,
    members: Mapping[str, TorchSummarizer],
    method: Literal["uniform", "greedy"],
    measure: Callable[[TorchSummarizer], float],
) -> Soup:
    """Average the weights of members that fit each other (`check_alike`).

    ``greedy`` measures each member, begins with the best and goes through the others, best first: one stays in the
    soup if what ``measure`` says of it does not get less. ``uniform`` takes all and measures nothing.
    """
    if method == "uniform" or len(members) == 1:
        return Soup(summarizer=average(name, list(members.values())), taken=list(members), steps=[])
    alone = {member: measure(summarizer) for member, summarizer in members.items()}
    order = sorted(members, key=lambda member: -alone[member])
    taken, reached = order[:1], alone[order[0]]
    steps = [Step(member=order[0], alone=reached, together=reached, taken=True)]
    for member in order[1:]:
        score = measure(average(name, [members[one] for one in (*taken, member)]))
        steps.append(Step(member=member, alone=alone[member], together=score, taken=score >= reached))
        if score >= reached:
            taken, reached = [*taken, member], score
    return Soup(summarizer=average(name, [members[one] for one in taken]), taken=taken, steps=steps)


@torch.no_grad()
def average(name: str, members: Sequence[TorchSummarizer]) -> TorchSummarizer:
    """Return a new model with the mean weights, in fp32; the first member's whole numbers, tokenizer and spec."""
    model = copy.deepcopy(members[0].model)
    states = [member.model.state_dict() for member in members]
    # On the CPU and in fp64: the mean of equal weights is that weight, on every device.
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
    """Write a soup as `yoyak train` writes a member: safetensors, tokenizer and yoyak.json."""
    soup.model.save_pretrained(folder, safe_serialization=True)
    soup.tokenizer.save_pretrained(folder)
    save_spec(folder, soup.spec)


def check_alike(members: Mapping[str, TorchSummarizer], where: str) -> None:
    """Raise UserError for two members whose weights do not mean the same, with the first thing in which they differ."""
    for (first, one), (second, other) in pairwise(members.items()):
        problem = _difference(one, other)
        if problem:
            raise UserError(
                f"{where}: the weights of {first} and {second} cannot be averaged, {problem}: name members that "
                f"differ in their training only ({ELSE})."
            )


def _difference(one: TorchSummarizer, other: TorchSummarizer) -> str:
    kinds = [member.model.config.model_type for member in (one, other)]
    if kinds[0] != kinds[1]:
        return f"their architectures are {kinds[0]} and {kinds[1]}"
    shapes = [{key: tuple(value.shape) for key, value in member.model.state_dict().items()} for member in (one, other)]
    for key in {**shapes[0], **shapes[1]}:
        if shapes[0].get(key) != shapes[1].get(key):
            found = " and ".join(str(shape.get(key, "missing")) for shape in shapes)
            return f"the shapes of {key} are {found}"
    configs = [member.model.config.to_dict() for member in (one, other)]
    for key in sorted({**configs[0], **configs[1]}):
        values = [config.get(key) for config in configs]
        if values[0] != values[1] and key not in FREE and "drop" not in key:
            return f"config.{key} is {values[0]} and {values[1]}"
    for key in READING:
        values = [getattr(member.spec, key) for member in (one, other)]
        if values[0] != values[1]:
            return f"they read dialogues with {key} {values[0]!r} and {values[1]!r}"
    return ""
