"""Tokenized rows, the dev sample that selects the checkpoint, and a reproducible length-grouped sampler."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq
from transformers.trainer_pt_utils import LengthGroupedSampler

from yoyak.data.records import Dialogue
from yoyak.models.families import family_of
from yoyak.models.spec import ModelSpec

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

    from yoyak.models.families.base import TrainedFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedRows:
    """Tokenized rows."""

    dataset: Dataset
    """``input_ids`` and ``labels`` of each row."""
    cut_dialogues: int
    """Rows whose dialogue was cut at ``max_input_tokens``."""
    cut_summaries: int
    """Rows whose summary was cut at ``max_target_tokens``."""


def encode_rows(
    rows: Sequence[Dialogue],
    tokenizer: PreTrainedTokenizerBase,
    spec: ModelSpec,
    max_target_tokens: int,
    generation: GenerationConfig,
) -> EncodedRows:
    """Tokenize every row, with its first reference as the target.

    Args:
        generation: The model's generation config; every target begins with the tokens that it forces.
    """
    family = family_of(spec)
    summaries = [row.summaries[0] for row in rows]
    encoded = family.encode_dialogues(tokenizer, [row.dialogue for row in rows], spec)
    targets = family.encode_summaries(tokenizer, summaries, max_target_tokens, generation)
    untruncated = family.encode_summaries(tokenizer, summaries, sys.maxsize, generation)
    cut_summaries = sum(len(full) > len(target) for full, target in zip(untruncated, targets, strict=True))
    examples = [family.make_example(ids, target) for ids, target in zip(encoded.input_ids, targets, strict=True)]
    return EncodedRows(
        dataset=Dataset.from_dict(
            {"input_ids": [ids for ids, _ in examples], "labels": [labels for _, labels in examples]}
        ),
        cut_dialogues=sum(encoded.cut),
        cut_summaries=cut_summaries,
    )


def make_collator(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, family: TrainedFamily) -> Any:
    """Return what makes a padded batch of rows, padded on the side that the family decodes with."""
    padding = copy.copy(tokenizer)
    padding.padding_side = "left" if family.pads_left else "right"
    return DataCollatorForSeq2Seq(padding, model=model)


def sample_rows(rows: Sequence[Dialogue], size: int, seed: int) -> list[Dialogue]:
    """Return a random sample of at most ``size`` rows that does not depend on the order of the rows."""

    def hash_row(row: Dialogue) -> bytes:
        return hashlib.sha256(f"{seed}\0{row.fname}\0{row.dialogue}".encode()).digest()

    return sorted(rows, key=hash_row)[:size]


class EpochLengthGroupedSampler(LengthGroupedSampler):
    """transformers' length-grouped sampler, with an order that a resumed run can reproduce.

    The original draws from torch's global generator, whose state in the middle of an epoch is no longer the one that
    produced the epoch's order.
    """

    def __init__(self, batch_size: int, lengths: list[int], seed: int) -> None:
        super().__init__(batch_size=batch_size, lengths=lengths)
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the Trainer calls this at the start of each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        self.generator = torch.Generator().manual_seed(self.seed * 100_003 + self.epoch)
        return super().__iter__()
