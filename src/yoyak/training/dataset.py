"""Tokenized rows, the dev sample that selects the checkpoint, and samplers whose order can be reproduced."""

from __future__ import annotations

import copy
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Sampler

from yoyak.data.records import Dialogue
from yoyak.models.families import family_of
from yoyak.models.spec import ModelSpec
from yoyak.models.steps import add_topics, prepare_target

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

    from yoyak.models.families.base import TrainedFamily

LENGTH_NOISE = 0.05
"""Rows are sorted by lengths that differ from theirs by up to this share: others share a batch in each epoch."""


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
    # `yoyak check` needs this module, and not the seconds that these imports take.
    from datasets import Dataset

    family = family_of(spec)
    summaries = target_texts(rows, spec)
    encoded = family.encode_dialogues(tokenizer, input_texts(rows, spec), spec)
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


def input_texts(rows: Sequence[Dialogue], spec: ModelSpec) -> list[str]:
    """Return the dialogues that a member is trained on, which `encode_dialogues` takes."""
    return add_topics([row.dialogue for row in rows], [row.topic for row in rows], spec.preprocessing)


def target_texts(rows: Sequence[Dialogue], spec: ModelSpec) -> list[str]:
    """Return what a member learns to write: the first reference of each row."""
    return [prepare_target(row.summaries[0], spec.preprocessing) for row in rows]


def make_collator(
    tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, family: TrainedFamily, *, masks_padding: bool = True
) -> Any:
    """Return what makes a padded batch of rows, padded on the side that the family decodes with.

    On the right, where no token looks, if the model does not mask the padding.
    """
    from transformers import DataCollatorForSeq2Seq

    padding = copy.copy(tokenizer)
    padding.padding_side = "left" if family.pads_left and masks_padding else "right"
    return DataCollatorForSeq2Seq(padding, model=model)


def sample_rows(rows: Sequence[Dialogue], size: int, seed: int) -> list[Dialogue]:
    """Return a random sample of at most ``size`` rows that does not depend on the order of the rows."""

    def hash_row(row: Dialogue) -> bytes:
        return hashlib.sha256(f"{seed}\0{row.fname}\0{row.dialogue}".encode()).digest()

    return sorted(rows, key=hash_row)[:size]


class LengthSampler(Sampler[int]):
    """Shuffled batches of rows of similar lengths, in an order that a resumed run can reproduce.

    transformers' own sampler groups by the lengths of the inputs alone, within parts of the rows that are small where
    there are few rows, and draws from torch's global generator, whose state in the middle of an epoch is no longer the
    one that produced the epoch's order.
    """

    def __init__(self, batch_size: int, lengths: Sequence[tuple[int, int]], seed: int) -> None:
        """Make batches of ``batch_size`` rows, with the tokens of the input and the target of each."""
        self.batch_size = batch_size
        self.lengths = torch.tensor(lengths).reshape(-1, 2)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the Trainer calls this at the start of each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = _generator(self.seed, self.epoch)
        rows = torch.randperm(len(self), generator=generator)
        # The batch that is not full, which is the last one, has rows of any length.
        rest, rows = rows.split([len(self) % self.batch_size, len(self) - len(self) % self.batch_size])
        inputs, targets = self.lengths.unbind(1)
        noise = 1 + LENGTH_NOISE * (2 * torch.rand(len(rows), generator=generator) - 1)
        rows = rows[(inputs[rows] * noise).argsort(stable=True)]
        # Of two batches of similar inputs, one gets the short targets, which a decoder of its own pads as well.
        pairs = [pair[targets[pair].argsort(stable=True)] for pair in rows.split(2 * self.batch_size)]
        batches = [batch for pair in pairs for batch in pair.split(self.batch_size) if len(batch)]
        # The longest rows come first, so that memory runs out at once if it does.
        batches.sort(key=lambda batch: int(inputs[batch].max()))
        order = torch.randperm(len(batches) - 1, generator=generator).tolist() if batches else []
        yield from torch.cat([*batches[-1:], *(batches[index] for index in order), rest]).tolist()


class ShuffledSampler(Sampler[int]):
    """Every row once, in an order that depends on the seed and the epoch alone."""

    def __init__(self, rows: int, seed: int, first: int | None = None) -> None:
        """Shuffle so many rows, but for the one that comes first in each epoch, if there is one."""
        self.rows = rows
        self.first = first
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.rows

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the Trainer calls this at the start of each one."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.rows, generator=_generator(self.seed, self.epoch)).tolist()
        if self.first is not None:
            order.remove(self.first)
            order.insert(0, self.first)
        return iter(order)


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 100_003 + epoch)
