"""Packed examples have the loss and the gradients of padded ones, and a training with them is the same training."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import GenerationConfig, PreTrainedTokenizerBase

from training.tiny_training import MASKS, ROWS, TEXTS, member, train
from yoyak.errors import UserError
from yoyak.models.families import family_of
from yoyak.models.families.packing import ARCHITECTURES, assign_rows, pack
from yoyak.models.load import build_model, read_config
from yoyak.models.text import IGNORED
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer, TrainedMember
from yoyak.training.dataset import encode_rows, make_collator
from yoyak.training.results import TrainingResult
from yoyak.training.selection import CheckpointScoring

SMALL = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
OWN: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "gpt_neox": SMALL,
    "phi": SMALL,
    **{
        kind: {**SMALL, "num_key_value_heads": 1, "head_dim": 8, "sliding_window": 12}
        for kind in ("gemma2", "gemma3_text")
    },
    **{kind: {**SMALL, "num_key_value_heads": 1, "head_dim": 8} for kind in ("gemma", "qwen3")},
    **{kind: {**SMALL, "num_key_value_heads": 1, "sliding_window": 12} for kind in ("mistral", "exaone4")},
}
"""Sizes of those that name them in a way of their own, and windows that are shorter than a row."""
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
WORDS = CheckpointScoring(granularity="eojeol", multi_reference="mean", weights=(1.0, 0.0, 0.0))
VALUES: dict[str, Any] = {
    "scoring": WORDS, "num_epochs": 1, "evaluations": 1, "evaluation_dialogues": 1, "learning_rate": 1e-3,
    "gradient_accumulation_steps": 2, "batch_size": 5,
}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


def member_of(kind: str, **values: Any) -> TrainedMember:
    config = {"model_type": kind, **OWN.get(kind, {**SMALL, "num_key_value_heads": 1})}
    return member("", **{"family": "causal", "config": config, **values})


def compute(model: Any, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Return the loss and the gradients."""
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    return loss.detach(), {name: weight.grad.clone() for name, weight in model.named_parameters()}


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_loss_and_gradients_are_those_of_padded_examples(kind: str, tokenizer) -> None:
    torch.manual_seed(3)
    settings = member_of(kind, packing=True)
    family, model = family_of(settings), build_model("m", settings, tokenizer).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                # New weights attend to everything alike, and hardly to anything.
                weight.normal_(0, 0.3)
    data = encode_rows(ROWS[:6], tokenizer, family.make_spec("m", settings), 32, GenerationConfig()).dataset
    lengths = (40, 7, 30, 25, 9, 38)
    rows = [{name: row[name][-length:] for name in row} for row, length in zip(data, lengths, strict=True)]
    for row in rows:
        row["labels"][0] = IGNORED  # An example begins with its prompt.
    batch = make_collator(tokenizer, model, family)(rows)
    packed = family.pack(dict(batch), 60)
    assert packed["input_ids"].shape == (3, 56)
    parameters = inspect.signature(model.forward).parameters.keys()
    loss, gradients = compute(model, family.loss_inputs(batch, parameters))
    packed_loss, packed_gradients = compute(model, family.loss_inputs(packed, parameters))
    torch.testing.assert_close(packed_loss, loss)
    torch.testing.assert_close(packed_gradients, gradients, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["opt", "bloom", "stablelm"])
def test_a_model_that_would_mix_examples_is_refused(kind: str, tokenizer) -> None:
    settings = member("", family="causal", config={"model_type": kind}, packing=True)
    with pytest.raises(UserError, match=rf"members\.m\.packing does not support {kind}"):
        read_config("m", settings, tokenizer)
    read_config("m", settings.model_copy(update={"packing": False}), tokenizer)


def test_what_does_not_go_with_it_is_refused_in_params() -> None:
    with pytest.raises(ValidationError, match="packing does not go with torch_compile"):
        member("gpt2", packing=True, torch_compile=True)
    with pytest.raises(ValidationError, match="packing"):
        member("bart", packing=True)


def test_rows_are_filled_and_every_token_is_kept_once() -> None:
    torch.manual_seed(1)
    lengths = torch.randint(1, 30, (40,))
    mask = (torch.arange(30) >= 30 - lengths[:, None]).long()
    ids, labels = torch.randint(1, 9, (40, 30)) * mask, torch.randint(1, 9, (40, 30))
    packed = pack({"input_ids": ids, "attention_mask": mask, "labels": labels}, 64)
    assert packed["input_ids"].shape[1] <= 64
    assert packed["input_ids"].numel() < 1.2 * int(lengths.sum())
    found = []
    for row, row_labels, positions in zip(*packed.values(), strict=True):
        starts = [*(positions == 0).nonzero().flatten().tolist(), len(row)]
        for start, end in pairwise(starts):
            assert positions[start:end].tolist() == list(range(end - start))
            assert row_labels[start] == IGNORED
            if row[start]:  # Padding is 0 here.
                found.append((row[start:end].tolist(), row_labels[start + 1 : end].tolist()))
    expected = [
        (ids[row, 30 - length :].tolist(), labels[row, 31 - length :].tolist())
        for row, length in enumerate(lengths.tolist())
    ]
    assert sorted(found) == sorted(expected)


def test_an_example_that_is_longer_than_a_row_has_one_of_its_own() -> None:
    assert assign_rows([3, 50, 8, 2, 10], 10) == [[1], [4], [2, 3], [0]]
    assert assign_rows([1, 1], 1) == [[0], [1]]


def run(tokenizer: PreTrainedTokenizerBase, folder: Path, **values: Any) -> TrainingResult:
    config = {**member("gpt2").config, **NO_DROPOUT}
    return train("gpt2", tokenizer, folder, config=config, **{**VALUES, **values})


@pytest.fixture(scope="module")
def plain(tokenizer, tmp_path_factory) -> dict[float, TrainingResult]:
    """The training without packing, by label smoothing."""
    folder = tmp_path_factory.mktemp("plain")
    return {smoothing: run(tokenizer, folder / f"{smoothing}", label_smoothing=smoothing) for smoothing in (0.0, 0.1)}


@pytest.mark.parametrize(
    ("smoothing", "values"),
    [
        (0.0, {}),
        (0.1, {"max_batch_tokens": 300}),
        (0.0, {"max_batch_tokens": 300, "loss_chunk_tokens": 16}),
        (0.1, {"loss_chunk_tokens": 16, "gradient_checkpointing": True}),
    ],
)
def test_a_training_is_the_same_when_packed(smoothing: float, values: dict[str, Any], plain, tokenizer, tmp_path: Path):
    result = run(tokenizer, tmp_path, label_smoothing=smoothing, packing=True, **values)
    assert result.metrics.steps == plain[smoothing].metrics.steps
    for row, other in zip(plain[smoothing].curves, result.curves, strict=True):
        assert other == pytest.approx(row, rel=3e-4)


def test_rows_are_really_packed_and_parts_hold_no_more_than_their_tokens(
    tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import GPT2LMHeadModel

    shapes: list[tuple[int, ...]] = []
    forward = GPT2LMHeadModel.forward

    def watch(self: Any, input_ids: Any = None, **inputs: Any) -> Any:
        if inputs.get("position_ids") is not None and inputs.get("attention_mask") is None:
            shapes.append(tuple(input_ids.shape))
        return forward(self, input_ids, **inputs)

    watch.__signature__ = inspect.signature(forward)  # type: ignore[attr-defined]
    monkeypatch.setattr(GPT2LMHeadModel, "forward", watch)
    run(tokenizer, tmp_path / "whole", packing=True)
    whole = list(shapes)
    shapes.clear()
    run(tokenizer, tmp_path / "parts", packing=True, max_batch_tokens=300)
    assert len(whole) == 7  # 32 rows in batches of 5.
    assert sum(rows for rows, _ in whole) < 32
    assert all(width <= 256 + 32 for _, width in whole)
    assert len(shapes) > len(whole)
    assert all(rows * width <= 300 or rows == 1 for rows, width in shapes)


def test_an_interrupted_training_ends_with_the_same_weights(tokenizer, tmp_path: Path) -> None:
    """With dropout, whose state a checkpoint has to keep, and with early stopping."""
    values = {
        **VALUES, "packing": True, "max_batch_tokens": 300, "num_epochs": 3, "evaluations": 4, "learning_rate": 1e-12,
        "early_stopping_patience": 2,
    }  # fmt: skip

    def interrupt(step: int, metrics: Mapping[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    whole = train("gpt2", tokenizer, tmp_path / "whole", **values)
    assert whole.metrics.steps < 12
    with pytest.raises(KeyboardInterrupt):
        train("gpt2", tokenizer, tmp_path, log=interrupt, **values)
    resumed = train("gpt2", tokenizer, tmp_path, **values)
    assert resumed.curves == whole.curves
    model = Path("model/model.safetensors")
    assert (tmp_path / model).read_bytes() == (tmp_path / "whole" / model).read_bytes()


def test_an_adapter_is_trained_packed(tokenizer, tmp_path: Path) -> None:
    train("gpt2", tokenizer, tmp_path / "base", **{**VALUES, "num_epochs": 0.5})
    values = {
        **VALUES,
        "config": NO_DROPOUT,
        "checkpoint": str(tmp_path / "base/model"),
        "adapter": {"lora_dropout": 0.0},
    }
    expected = train("gpt2", tokenizer, tmp_path / "plain", **values)
    packed = train("gpt2", tokenizer, tmp_path / "packed", packing=True, **values)
    for row, other in zip(expected.curves, packed.curves, strict=True):
        assert other == pytest.approx(row, rel=3e-4)
