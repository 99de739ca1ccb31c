"""What can be known about members before any of their weights is loaded: whether they will train here, or why not."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil
import torch
from transformers import GenerationConfig

from yoyak.data.folding import hold_out
from yoyak.data.records import Dialogue
from yoyak.errors import UserError
from yoyak.models import catalog
from yoyak.models.checkpoints import open_source
from yoyak.models.families import family_of
from yoyak.models.load import read_config
from yoyak.models.memory import Memory, estimate_memory
from yoyak.models.precision import Decision, decide, find_hardware
from yoyak.models.spec import ModelSpec
from yoyak.models.text import IGNORED
from yoyak.models.tokenizers import load_tokenizer
from yoyak.models.window import find_positions, window_problem
from yoyak.params import TrainedMember
from yoyak.training.arguments import advise_less_memory, check_devices, check_optimizer
from yoyak.training.dataset import input_texts, sample_rows, target_texts
from yoyak.training.plugins import load_callbacks, load_metrics
from yoyak.training.tensorboard import check_tensorboard

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

CHECKS = ("checkpoint", "tokenizer", "example", "window", "precision", "memory", "disk")
"""In order. One that cannot be completed ends the checks of its member."""
SAMPLE = 300
"""Rows that are encoded to learn their lengths: the longest ones, and as many at random."""
SHOWN = 50
"""Characters of an example that are shown from each end of its prompt."""
Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The result of one check."""

    check: str
    level: Level
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found about one member."""

    member: str
    findings: tuple[Finding, ...]

    @property
    def fails(self) -> bool:
        """Whether the member cannot be trained here."""
        return any(finding.level == "error" for finding in self.findings)


def make_report(member: str, found: Iterator[tuple[Level, str]]) -> Report:
    """Return the findings of `check_member`; an error that ends it is the last one."""
    findings: list[Finding] = []
    try:
        for level, note in found:
            findings.append(Finding(check=CHECKS[len(findings)], level=level, note=note))
    except UserError as error:
        findings.append(Finding(check=CHECKS[len(findings)], level="error", note=str(error)))
    return Report(member=member, findings=tuple(findings))


def check_member(
    name: str,
    member: TrainedMember,
    rows: Sequence[Dialogue],
    masks: Sequence[str],
    own_tokenizer: Path | None,
    out: Path,
) -> Iterator[tuple[Level, str]]:
    """Yield the level and note of each of `CHECKS`.

    Args:
        rows: Of the training split.
        own_tokenizer: Folder of the tokenizer that was trained for it; None if it has that of its checkpoint.
        out: Folder that the model will be saved to.

    Raises UserError at a check without which those after it make no sense.
    """
    family = family_of(member)
    tokenizer: PreTrainedTokenizerBase
    if own_tokenizer is None:
        source = open_source(str(member.checkpoint), member.revision)
        tokenizer = load_tokenizer(source.tokenizer, (), source.revision)
    else:
        tokenizer = load_tokenizer(own_tokenizer)
    config = read_config(name, member, tokenizer)
    yield "ok", _describe_checkpoint(member, config)

    known = len(tokenizer)
    eos = tokenizer.eos_token
    tokenizer.add_tokens([mask for mask in masks if mask not in tokenizer.get_vocab()])
    spec = family.apply_tokenizer(family.make_spec(name, member), member, tokenizer)
    yield _describe_tokenizer(tokenizer, known, str(eos), member, config)

    if member.fold:
        rows, _ = hold_out(rows, member.fold.index, member.fold.of)
    yield _check_example(member, tokenizer, spec, rows[0])

    problem = window_problem(spec, find_positions(config.to_dict()), member.max_target_tokens)
    if problem:
        raise UserError(f"max_input_tokens and max_target_tokens need {problem}: lower them.")
    lengths = _measure_lengths(member, tokenizer, spec, rows)
    yield lengths.judge(member)

    hardware = find_hardware()
    check_optimizer(name, member, hardware.device)
    load_callbacks(f"members.{name}", member.callbacks)
    load_metrics(f"members.{name}", member.metrics)
    if member.tensorboard:
        check_tensorboard(f"members.{name}")
    check_devices(name, member)
    decision = decide(f"members.{name}.precision", member.precision, config.model_type, hardware)
    yield "ok", f"{decision.precision}, {decision.reason}"

    try:
        memory = _estimate(member, config, decision, hardware.device, len(tokenizer), lengths)
    except NotImplementedError as error:
        yield "warning", f"it could not be estimated: {error}"
        yield _check_disk(0, out)
        return
    yield _judge_memory(member, memory, hardware.device)
    # The saved model, and two checkpoints with what is trained and AdamW's two moments of it.
    yield _check_disk(memory.parameters * 4 + 2 * memory.trained * 12, out)


def _describe_checkpoint(member: TrainedMember, config: PretrainedConfig) -> str:
    if member.checkpoint is None:
        return f"a new {config.model_type}"
    entry = catalog.find_entry(member.checkpoint)
    licence = f", licence {entry.licence}" if entry else ", licence not known: see its card"
    return f"{catalog.checkpoint(member.checkpoint)}, {config.model_type}{licence}"


def _describe_tokenizer(
    tokenizer: PreTrainedTokenizerBase, known: int, eos: str, member: TrainedMember, config: PretrainedConfig
) -> tuple[Level, str]:
    notes = [f"{known:,} tokens"]
    if len(tokenizer) > known:
        notes.append(f"{len(tokenizer) - known} masks are added")
    if member.checkpoint is not None and len(tokenizer) > config.vocab_size:
        notes.append(f"the model gets {len(tokenizer) - config.vocab_size} more embeddings")
    warnings = []
    if tokenizer.eos_token != eos:
        warnings.append(
            f"its EOS token is {eos}, but its template ends a reply with {tokenizer.eos_token}, which is used"
        )
    if tokenizer.pad_token_id == tokenizer.eos_token_id:
        warnings.append(f"padding and end are both {tokenizer.eos_token}; padding is masked")
    return ("warning" if warnings else "ok"), "; ".join([", ".join(notes), *warnings])


def _check_example(
    member: TrainedMember, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec, row: Dialogue
) -> tuple[Level, str]:
    """Encode one row as training does, and show what the model reads and what it is to write."""
    family = family_of(spec)
    [ids] = family.encode_dialogues(tokenizer, input_texts([row], spec), spec).input_ids
    [target] = family.encode_summaries(
        tokenizer,
        target_texts([row], spec),
        member.max_target_tokens,
        GenerationConfig(eos_token_id=tokenizer.eos_token_id),
    )
    _, labels = family.make_example(ids, target)
    learned = [label for label in labels if label != IGNORED]
    if len(learned) < 2:
        raise UserError(
            f"of its first row nothing but {tokenizer.eos_token} is left to learn: raise max_target_tokens."
        )
    prompt, written = tokenizer.decode(ids), tokenizer.decode(learned)
    if len(prompt) > 2 * SHOWN:
        prompt = f"{prompt[:SHOWN]} … {prompt[-SHOWN:]}"
    return "ok", f"reads {prompt!r} and learns {written!r} ({len(learned)} of {len(labels)} labels)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Lengths of the training rows in tokens."""

    input_tokens: int
    """Mean of the longest rows, as many as a batch has: batches are of similar lengths."""
    target_tokens: int
    cut_dialogues: float
    """Share of the dialogues that would be cut."""
    cut_summaries: float

    def judge(self, member: TrainedMember) -> tuple[Level, str]:
        """Return whether too many would be cut."""
        note = (
            f"{self.cut_dialogues:.1%} of the dialogues are cut at max_input_tokens, {member.max_input_tokens}, and "
            f"{self.cut_summaries:.1%} of the summaries at max_target_tokens, {member.max_target_tokens}"
        )
        shares = {"max_input_tokens": self.cut_dialogues, "max_target_tokens": self.cut_summaries}
        short = [key for key, share in shares.items() if share > member.max_truncated_share]
        if short:
            limit = f"max_truncated_share, {member.max_truncated_share:.0%}"
            return "warning", f"{note}; more than {limit}: raise {' and '.join(short)}"
        return "ok", note


def _measure_lengths(
    member: TrainedMember, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec, rows: Sequence[Dialogue]
) -> Lengths:
    family, sample = family_of(spec), sample_rows(rows, SAMPLE, 0)
    at_random = family.encode_dialogues(tokenizer, input_texts(sample, spec), spec)
    whole = family.encode_summaries(tokenizer, target_texts(sample, spec), sys.maxsize, GenerationConfig())
    longest = sorted(rows, key=lambda row: -len(row.dialogue))[: max(member.batch_size, 8)]
    inputs = sorted(map(len, family.encode_dialogues(tokenizer, input_texts(longest, spec), spec).input_ids))
    texts = sorted(target_texts(rows, spec), key=len)[-member.batch_size :]
    targets = family.encode_summaries(tokenizer, texts, member.max_target_tokens, GenerationConfig())
    batch = inputs[-member.batch_size :]
    return Lengths(
        input_tokens=round(sum(batch) / len(batch)),
        target_tokens=max(map(len, targets)),
        cut_dialogues=sum(at_random.cut) / len(at_random.cut),
        cut_summaries=sum(len(ids) > member.max_target_tokens for ids in whole) / len(whole),
    )


def _estimate(
    member: TrainedMember,
    config: PretrainedConfig,
    decision: Decision,
    device: str,
    vocabulary: int,
    lengths: Lengths,
) -> Memory:
    return estimate_memory(
        member,
        family_of(member),
        config,
        decision,
        device=device,
        vocabulary=vocabulary,
        input_tokens=lengths.input_tokens,
        target_tokens=lengths.target_tokens,
        batch_size=_rows_of_each(member),
    )


def _rows_of_each(member: TrainedMember) -> int:
    """Return how many rows of a batch one of the processes gets."""
    return math.ceil(member.batch_size / member.launcher.processes)


def free_memory(device: str) -> int:
    """Return the bytes that a training may still take on a device of this type."""
    return int(torch.cuda.mem_get_info()[0]) if device == "cuda" else int(psutil.virtual_memory().available)


def _judge_memory(member: TrainedMember, memory: Memory, device: str) -> tuple[Level, str]:
    count = member.launcher.processes
    # Processes without a GPU share one memory.
    free = free_memory(device) // (count if device == "cpu" else 1)
    fixed = memory.fixed / (count if member.launcher.strategy == "fsdp" else 1)
    largest = int((free - fixed) / (memory.activations / memory.rows))
    note = f"{_size(fixed + memory.activations)} of {_size(free)}, of which {_size(fixed)} whatever the batch"
    if count > 1:
        note = f"in each of {count} processes {note}"
        largest *= count
    if largest >= min(member.batch_size, memory.rows * count):
        return "ok", f"{note}; a batch of {largest} would fit"
    if largest > 0:
        return "warning", f"{note}; a batch of {largest} fits, and training starts over with less if memory runs out"
    return "error", f"{note}; not one row fits: {advise_less_memory(member)}"


def _check_disk(needed: int, out: Path) -> tuple[Level, str]:
    parent = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    free = shutil.disk_usage(parent).free
    return ("ok" if free >= needed else "error"), f"{_size(needed)} of {_size(free)}"


def _size(size: float) -> str:
    return f"{size / 2**30:.1f} GB" if size >= 2**30 else f"{size / 2**20:.0f} MB"
