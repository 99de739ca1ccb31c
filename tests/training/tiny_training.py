"""Trainings of a second: 32 generated dialogues, models of 16 dimensions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from trained_members import parse_trained
from yoyak.data.records import Dialogue
from yoyak.data.samples import generate
from yoyak.params import TrainedMember
from yoyak.training.launch import train_on_devices
from yoyak.training.out_of_memory import retry_with_smaller_batches
from yoyak.training.progress import MetricLogger
from yoyak.training.results import TrainingResult
from yoyak.training.selection import CheckpointScoring

SIZES = {
    "bart": ("seq2seq", {"model_type": "bart", "d_model": 16, "encoder_layers": 1, "decoder_layers": 1,
                         "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "encoder_attention_heads": 2,
                         "decoder_attention_heads": 2, "max_position_embeddings": 512}),
    "t5": ("seq2seq", {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}),
    "gpt2": ("causal", {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 512}),
}  # fmt: skip
SCORING = CheckpointScoring(granularity="morpheme", multi_reference="mean", weights=(0.33, 0.33, 0.34))

ROWS = list(generate(40, 5, split="train"))
TEXTS = [text for row in ROWS for text in (row.dialogue, *row.summaries)]
TWICE_SUMMARIZED = [
    replace(row, summaries=(*row.summaries, *other.summaries)) for row, other in zip(ROWS[32:], ROWS[31:], strict=False)
]
"""The dev rows with a second summary that fits less."""
MASKS = ["#Person1#", "#Person2#", "#Person3#"]


def member(kind: str, **values: Any) -> TrainedMember:
    family, config = SIZES.get(kind, ("", {}))
    settings = {
        "family": family, "config": config, "tokenizer": "bpe", "learning_rate": 0.01, "batch_size": 8, "num_epochs": 2,
        "max_input_tokens": 256, "max_target_tokens": 32, "evaluations": 2, "evaluation_dialogues": 4,
    }  # fmt: skip
    return parse_trained({**settings, **values})


def train(
    kind: str,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    rows: list[Dialogue] = ROWS,
    *,
    scoring: CheckpointScoring = SCORING,
    log: MetricLogger | None = None,
    **values: Any,
) -> TrainingResult:
    requested, checkpoints = member(kind, **values), folder / "checkpoints"
    return retry_with_smaller_batches(
        kind,
        requested,
        checkpoints,
        lambda current: train_on_devices(
            kind, current, tokenizer=tokenizer, train=rows[:32], dev=rows[32:], scoring=scoring, seed=7,
            out=folder / "model", checkpoints=checkpoints, log=log, requested=requested,
        ),
    )  # fmt: skip
