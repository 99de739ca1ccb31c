"""Rows as token ids, and a sampler that groups like lengths in an order that depends on seed and epoch alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from datasets import Dataset
from transformers.trainer_pt_utils import LengthGroupedSampler

from yoyak.data.records import Dialogue
from yoyak.models.spec import ModelSpec
from yoyak.models.text import encode_inputs, encode_targets

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""Label of positions that bear no loss."""


def encode(
    rows: Sequence[Dialogue], tokenizer: PreTrainedTokenizerBase, spec: ModelSpec, max_target_tokens: int
) -> Dataset:
    """Return ``input_ids`` and ``labels`` of every row with its first reference.

    For a decoder-only model both hold prompt and target, and the prompt's labels bear no loss.
    """
    inputs = encode_inputs(tokenizer, [row.dialogue for row in rows], spec).input_ids
    targets = encode_targets(tokenizer, [row.summaries[0] for row in rows], max_target_tokens)
    if spec.family == "causal":
        labels = [[IGNORED] * len(ids) + target for ids, target in zip(inputs, targets, strict=True)]
        inputs = [ids + target for ids, target in zip(inputs, targets, strict=True)]
        targets = labels
    return Dataset.from_dict({"input_ids": inputs, "labels": targets})


class EpochLengthGroupedSampler(LengthGroupedSampler):
    """transformers' sampler by length, with an order that a resumed training finds again.

    The original draws from torch's global generator, whose state in the middle of an epoch is not the one that
    ordered it.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size=batch_size, lengths=lengths)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the Trainer at the start of each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return super().__iter__()
