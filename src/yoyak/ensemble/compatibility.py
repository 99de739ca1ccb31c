"""Compatibility of models: soft voting needs the same tokenizer, and soups need the same architecture as well."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from yoyak.decoding.summarizer import check_new_tokens
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.models.adapters import OPTION
from yoyak.models.steps import PLAIN_MASKS

ALTERNATIVE = "vote, weighted, mbr and stack do not need that"
IRRELEVANT_CONFIG = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache"}
"""Config values that do not change the meaning of trained weights; dropout values do not either."""
INPUT_SPEC = ("family", "prefix", "separator", "preprocessing", "options")
"""Spec values that determine how a dialogue becomes the model's input."""


def load_members(folders: Mapping[str, Path], where: str, new_tokens: int) -> dict[str, TorchSummarizer]:
    """Load models by name, all onto the same device.

    Args:
        where: The key in params.yaml that lists them, for errors.
        new_tokens: How many tokens they will generate.

    Raises UserError if one cannot be loaded or has no room for ``new_tokens``, or if two have different tokenizers.
    """
    members = {name: TorchSummarizer.load(folder) for name, folder in folders.items()}
    for name, member in members.items():
        check_new_tokens(member, name, new_tokens)
    check_same_tokenizer(members, where)
    return members


def check_same_tokenizer(members: Mapping[str, TorchSummarizer], where: str) -> None:
    """Raise UserError that names two members with different vocabularies, if there are any."""
    for (first, model), (second, other) in pairwise(members.items()):
        if _token_ids(model) != _token_ids(other):
            raise UserError(
                f"{where}: {first} and {second} have different tokenizers, so their token probabilities cannot be "
                f"averaged: use members that share one ({ALTERNATIVE})."
            )
        if (PLAIN_MASKS in model.spec.preprocessing) != (PLAIN_MASKS in other.spec.preprocessing):
            raise UserError(
                f"{where}: only one of {first} and {second} writes masks as words ({PLAIN_MASKS}), so their token "
                f"probabilities cannot be averaged: use members that all do or do not ({ALTERNATIVE})."
            )


def check_same_architecture(members: Mapping[str, TorchSummarizer], where: str) -> None:
    """Raise UserError if the weights of two members cannot be averaged, with the first difference."""
    for name, member in members.items():
        if OPTION in member.spec.options:
            raise UserError(
                f"{where}: {name} is an adapter apart from its checkpoint: train it with adapter.merge: true."
            )
    for (first, model), (second, other) in pairwise(members.items()):
        difference = _find_difference(model, other)
        if difference:
            raise UserError(
                f"{where}: the weights of {first} and {second} cannot be averaged, because {difference}: use members "
                f"that differ only in their training ({ALTERNATIVE})."
            )


def _token_ids(member: TorchSummarizer) -> tuple[dict[str, int], int, int]:
    tokenizer = member.tokenizer
    return tokenizer.get_vocab(), tokenizer.eos_token_id, tokenizer.pad_token_id


def _find_difference(model: TorchSummarizer, other: TorchSummarizer) -> str:
    """Describe the first difference that prevents averaging two models; empty if there is none."""
    types = [member.model.config.model_type for member in (model, other)]
    if types[0] != types[1]:
        return f"their architectures are {types[0]} and {types[1]}"
    shapes = [
        {key: tuple(value.shape) for key, value in member.model.state_dict().items()} for member in (model, other)
    ]
    for key in {**shapes[0], **shapes[1]}:
        if shapes[0].get(key) != shapes[1].get(key):
            both = " and ".join(str(by_key.get(key, "missing")) for by_key in shapes)
            return f"the shapes of {key} are {both}"
    configs = [member.model.config.to_dict() for member in (model, other)]
    for key in sorted({**configs[0], **configs[1]}):
        values = [config.get(key) for config in configs]
        if values[0] != values[1] and key not in IRRELEVANT_CONFIG and "drop" not in key:
            return f"config.{key} is {values[0]} and {values[1]}"
    for key in INPUT_SPEC:
        values = [getattr(member.spec, key) for member in (model, other)]
        if values[0] != values[1]:
            return f"their inputs differ in {key}, {values[0]!r} and {values[1]!r}"
    return ""
