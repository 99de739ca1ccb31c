"""Soft voting: the mean of the members' next-token probabilities at every step of a single search.

The first member's `generate` runs the search, with its beams and options. The others encode each dialogue themselves
and follow the generated tokens with their own key-value caches.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional
from transformers import GenerationConfig, LogitsProcessor
from transformers.generation import (
    ForcedBOSTokenLogitsProcessor,
    ForcedEOSTokenLogitsProcessor,
    MinNewTokensLengthLogitsProcessor,
)

from yoyak.decoding.batches import Generated, summarize_in_batches
from yoyak.decoding.reading import Window, count_searches, find_room, summarize_all
from yoyak.decoding.repetition import take_rules
from yoyak.decoding.summarizer import Summaries, describe_reading
from yoyak.decoding.torch import TorchSummarizer, ran_out_of_memory
from yoyak.models.families.reader import Reader
from yoyak.params import Generation


class SoftSummarizer:
    """Several models that generate together; they must share a tokenizer (`compatibility.check_same_tokenizer`)."""

    def __init__(self, members: Sequence[TorchSummarizer], weights: Sequence[float]) -> None:
        """Take models and their weights, which sum to one; models with weight 0 are skipped."""
        active = [(member, weight) for member, weight in zip(members, weights, strict=True) if weight > 0]
        self.members = [member for member, _ in active]
        self.weights = [weight for _, weight in active]

    @property
    def generation(self) -> Generation:
        """The first member's settings, used unless a call overrides them."""
        return self.members[0].generation

    @property
    def new_token_limit(self) -> int | None:
        """The lowest limit of the members."""
        limits = (member.new_token_limit for member in self.members)
        return min((limit for limit in limits if limit is not None), default=None)

    def bytes_per_dialogue(self, settings: Generation) -> int:
        """Return what a search takes for one dialogue, at most: the members' caches are in memory together."""
        return sum(member.bytes_per_dialogue(settings) for member in self.members)

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        """Return the candidates of each dialogue; ``cut`` tells which were truncated for any member."""

        def search(texts: Sequence[str], settings: Generation) -> Summaries:
            inputs = [member.encode(texts) for member in self.members]
            summaries = summarize_in_batches(
                inputs[0],
                lambda rows: self.generate([[encoded.input_ids[row] for row in rows] for encoded in inputs], settings),
                batch_size=settings.batch_size,
                ran_out_of_memory=ran_out_of_memory,
                progress=progress,
            )
            read = sum(len(ids) for encoded in inputs for ids in encoded.input_ids)
            cuts = list(zip(*(encoded.cut for encoded in inputs), strict=True))
            kept = [member.spec.truncate for member in self.members]
            return replace(
                summaries,
                cut=[any(of_row) for of_row in cuts],
                how=[describe_reading(how for how, cut in zip(kept, of_row, strict=True) if cut) for of_row in cuts],
                tokens=replace(summaries.tokens, read=read),
            )

        return summarize_all(
            dialogues,
            generation or self.generation,
            search,
            window=self.window,
            preprocessing=self.members[0].spec.preprocessing,
        )

    @property
    def reads_topics(self) -> bool:
        """Whether all members read a dialogue with its topic."""
        return all(member.reads_topics for member in self.members)

    def count_searches(self, dialogues: Sequence[str]) -> list[int]:
        """Return how many texts are searched for each dialogue: more than one for what is read in parts."""
        return count_searches(dialogues, self.window, self.members[0].spec.preprocessing)

    @functools.cached_property
    def window(self) -> Window | None:
        """How the first member reads a dialogue in parts, which have to fit into every member's window."""
        window = self.members[0].window
        if window is None:
            return None
        # Also of members that would truncate by themselves.
        rooms = [find_room(member.family, member.tokenizer, member.spec) for member in self.members]
        return replace(window, room=min(rooms))

    @torch.inference_mode()
    def generate(
        self,
        inputs: Sequence[list[list[int]]],
        settings: Generation,
        processors: Sequence[LogitsProcessor] = (),
    ) -> list[Generated]:
        """Summarize one batch, given each member's input ids."""
        first, *others = self.members
        config = first.generation_config(settings)
        if not others:
            return first.generate(inputs[0], config, processors)
        width = max(map(len, inputs[0]))
        start = first.family.prompt_length(width)
        readers = [member.open_reader(ids) for member, ids in zip(others, inputs[1:], strict=True)]
        average = AverageProcessor(readers, self.weights, start=start, beams=settings.num_beams)
        rules = take_rules(config, first.family.first_counted(width))
        constraints = [*rules, *_extract_constraints(config, start, first.model.device)]
        return first.generate(inputs[0], config, [average, *constraints, *processors])


def _extract_constraints(config: GenerationConfig, start: int, device: torch.device) -> list[LogitsProcessor]:
    """Move a config's constraints on the output into processors, in transformers' order.

    `generate` runs its own processors before custom ones, so averaging would undo their effect.
    """
    constraints: list[LogitsProcessor] = []
    end = config.eos_token_id
    if config.min_new_tokens:
        constraints.append(MinNewTokensLengthLogitsProcessor(start, config.min_new_tokens, end, device=str(device)))
    if config.forced_bos_token_id is not None:
        constraints.append(ForcedBOSTokenLogitsProcessor(config.forced_bos_token_id))
    if config.forced_eos_token_id is not None:
        longest = start + config.max_new_tokens
        constraints.append(ForcedEOSTokenLogitsProcessor(longest, config.forced_eos_token_id, device=str(device)))
    config.min_new_tokens = 0
    config.forced_bos_token_id = config.forced_eos_token_id = None
    return constraints


class AverageProcessor(LogitsProcessor):
    """Replaces one model's scores with the logarithm of the weighted mean of all members' probabilities."""

    def __init__(self, readers: Sequence[Reader], weights: Sequence[float], *, start: int, beams: int) -> None:
        """Take the readers of the other members, and all weights, the searching member's first."""
        self.readers, self.weights = readers, weights
        self.start, self.beams = start, beams
        self.written: torch.Tensor | None = None

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Return the averaged scores, after every member has read the newest tokens."""
        written = input_ids[:, self.start :]
        if self.written is None:
            rows = torch.arange(len(written), device=written.device) // self.beams
            others = [reader.begin(rows) for reader in self.readers]
        else:
            parents = find_parents(self.written, written, self.beams)
            others = [reader.follow(parents, written[:, -1:])[:, -1] for reader in self.readers]
        self.written = written
        mixed: Any = log_mean([scores, *others], self.weights)
        return mixed


def find_parents(before: torch.Tensor, now: torch.Tensor, beams: int) -> torch.Tensor:
    """Return for each row the row of the previous step that it continues, within the beams of its dialogue.

    Beam search does not pass this to processors. Among rows with the same tokens the first suffices, because a model's
    cache is the same for all of them.
    """
    old, new = before.unflatten(0, (-1, beams)), now[:, :-1].unflatten(0, (-1, beams))
    same = (new[:, :, None] == old[:, None]).all(-1)
    if not bool(same.any(-1).all()):
        raise RuntimeError("a beam continues none of the previous step: this kind of search is not supported")
    firsts = torch.arange(0, len(now), beams, device=now.device)
    return (same.int().argmax(-1) + firsts[:, None]).flatten()


def log_mean(logits: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Return the logarithm of the weighted mean of the probabilities, with the width of the first logits.

    Embeddings may have more rows than the tokenizer has tokens; only tokens that all members have can be generated.
    """
    width = min(part.shape[-1] for part in logits)
    total = torch.full_like(logits[0][:, :width], -torch.inf)
    for part, weight in zip(logits, weights, strict=True):
        total = torch.logaddexp(total, functional.log_softmax(part[:, :width], -1) + math.log(weight))
    return functional.pad(total, (0, logits[0].shape[-1] - width), value=-torch.inf)
