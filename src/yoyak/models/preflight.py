"""Checks before training starts, to catch predictable failures early."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from yoyak.errors import UserError
from yoyak.models.families import family_of
from yoyak.models.spec import ModelSpec
from yoyak.models.text import decode
from yoyak.models.window import find_positions, window_problem
from yoyak.params.members import TrainedMember


def check(
    spec: ModelSpec,
    member: TrainedMember,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[str, str]],
    folder: Path,
) -> None:
    """Check a model on a few rows: vocabulary, context window, finite loss, generation, free disk space.

    Args:
        rows: A few ``(dialogue, summary)`` pairs of the training split.
        folder: Where the model will be saved.

    Raises UserError that says what is wrong and which param to change.
    """
    where = f"members.{spec.member}"
    size = model.get_input_embeddings().num_embeddings
    if len(tokenizer) > size:
        raise UserError(
            f"{where}: the tokenizer has {len(tokenizer)} tokens, but the model has only {size} embeddings."
        )
    _check_window(where, spec, member, model)
    _check_spacing(where, tokenizer, [summary for _, summary in rows])
    _check_disk(where, model, folder)
    _check_step(where, spec, member, model, tokenizer, rows)


def _check_window(where: str, spec: ModelSpec, member: TrainedMember, model: Any) -> None:
    problem = window_problem(spec, find_positions(model.config.to_dict()), member.max_target_tokens)
    if problem:
        raise UserError(f"{where}: max_input_tokens and max_target_tokens need {problem}: lower them.")


def _check_spacing(where: str, tokenizer: PreTrainedTokenizerBase, summaries: Sequence[str]) -> None:
    rows = tokenizer(text_target=list(summaries), add_special_tokens=False)["input_ids"]
    for summary, text in zip(summaries, decode(tokenizer, rows), strict=True):
        if text.replace(" ", "") == summary.replace(" ", "") and text.split() != summary.split():
            raise UserError(f"{where}: its tokenizer changes spacing: '{summary}' is decoded as '{text}'.")


def _check_disk(where: str, model: Any, folder: Path) -> None:
    weights = sum(parameter.numel() * 4 for parameter in model.parameters())
    # The saved model, and two checkpoints that hold the weights and AdamW's two moments.
    needed = weights * 7
    parent = next(path for path in [folder.absolute(), *folder.absolute().parents] if path.exists())
    free = shutil.disk_usage(parent).free
    if free < needed:
        raise UserError(
            f"{where}: training needs about {needed >> 20} MiB of disk space, but {parent} has {free >> 20} MiB free."
        )


def _check_step(
    where: str,
    spec: ModelSpec,
    member: TrainedMember,
    model: Any,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[tuple[str, str]],
) -> None:
    dialogue, summary = rows[0]
    example: Any
    labels: Any
    family = family_of(spec)
    inputs = family.encode_dialogues(tokenizer, [dialogue], spec).input_ids
    [target] = family.encode_summaries(tokenizer, [summary], member.max_target_tokens, model.generation_config)
    example, labels = family.make_example(inputs[0], target)
    ids, example, labels = (torch.tensor(rows, device=model.device) for rows in (inputs, [example], [labels]))
    try:
        with torch.inference_mode():
            loss = model(input_ids=example, labels=labels).loss
            # Three tokens and two beams: a cache that does not match the layers fails only at the second step.
            model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=3, num_beams=2)
    except (RuntimeError, IndexError, ValueError) as error:
        raise UserError(f"{where}: the model cannot read or write one row ({error}): change its config.") from error
    if not torch.isfinite(loss):
        raise UserError(f"{where}: the loss of its first row is {loss.item()}: the checkpoint's weights are damaged.")
