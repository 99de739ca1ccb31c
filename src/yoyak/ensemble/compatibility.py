"""Which models fit each other: the same tokenizer to write together, the same architecture to be averaged."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from yoyak.decoding.summarizer import check_new_tokens
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError

ALTERNATIVE = "vote, weighted, mbr and stack work for them"
IRRELEVANT_CONFIG = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype", "use_cache"}
"""Values of a config that do not change what trained weights mean; nor do those of dropout."""
INPUT_SPEC = ("family", "prefix", "separator", "options")
"""Values of a spec that say how a dialogue becomes the model's input."""


def load_members(folders: Mapping[str, Path], where: str, new_tokens: int) -> dict[str, TorchSummarizer]:
    """Load models by name, all onto the same device.

    Args:
        where: The key of params.yaml that names them, for errors.
        new_tokens: How many tokens they will write.

    Raises UserError if one cannot be loaded or has no room for ``new_tokens``, or if two have different tokenizers.
    """
    members = {name: TorchSummarizer.load(folder) for name, folder in folders.items()}
    for name, member in members.items():
        check_new_tokens(member, name, new_tokens)
    check_same_tokenizer(members, where)
    return members


def check_same_tokenizer(members: Mapping[str, TorchSummarizer], where: str) -> None:
    """Raise UserError that names two members for which the same token ids mean different tokens."""
    for (first, one), (second, other) in pairwise(members.items()):
        if _token_ids(one) != _token_ids(other):
            raise UserError(
                f"{where}: {first} and {second} have different tokenizers, and their tokens cannot be averaged: "
                f"name members that share one ({ALTERNATIVE})."
            )


def check_same_architecture(members: Mapping[str, TorchSummarizer], where: str) -> None:
    """Raise UserError for two members whose weights cannot be averaged, with the first difference between them."""
    for (first, one), (second, other) in pairwise(members.items()):
        difference = _find_difference(one, other)
        if difference:
            raise UserError(
                f"{where}: the weights of {first} and {second} cannot be averaged, {difference}: name members that "
                f"differ in their training only ({ALTERNATIVE})."
            )


def _token_ids(member: TorchSummarizer) -> tuple[dict[str, int], int, int]:
    tokenizer = member.tokenizer
    return tokenizer.get_vocab(), tokenizer.eos_token_id, tokenizer.pad_token_id


def _find_difference(one: TorchSummarizer, other: TorchSummarizer) -> str:
    """Return in words what keeps two models from being averaged; empty if nothing does."""
    types = [member.model.config.model_type for member in (one, other)]
    if types[0] != types[1]:
        return f"their architectures are {types[0]} and {types[1]}"
    shapes = [{key: tuple(value.shape) for key, value in member.model.state_dict().items()} for member in (one, other)]
    for key in {**shapes[0], **shapes[1]}:
        if shapes[0].get(key) != shapes[1].get(key):
            both = " and ".join(str(by_key.get(key, "missing")) for by_key in shapes)
            return f"the shapes of {key} are {both}"
    configs = [member.model.config.to_dict() for member in (one, other)]
    for key in sorted({**configs[0], **configs[1]}):
        values = [config.get(key) for config in configs]
        if values[0] != values[1] and key not in IRRELEVANT_CONFIG and "drop" not in key:
            return f"config.{key} is {values[0]} and {values[1]}"
    for key in INPUT_SPEC:
        values = [getattr(member.spec, key) for member in (one, other)]
        if values[0] != values[1]:
            return f"their inputs differ in {key}, {values[0]!r} and {values[1]!r}"
    return ""
