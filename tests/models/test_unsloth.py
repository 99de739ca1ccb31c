"""`adapter.unsloth` is refused where it cannot work; what it needs of a batch holds without a mask."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import GenerationConfig, PreTrainedTokenizerBase

from training.tiny_training import MASKS, ROWS, TEXTS, member
from yoyak.errors import UserError
from yoyak.models import unsloth
from yoyak.models.families import family_of
from yoyak.models.load import build_model, read_config
from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer
from yoyak.training.dataset import encode_rows, make_collator

LLAMA = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
         "num_attention_heads": 2, "num_key_value_heads": 1}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return train_tokenizer(TEXTS, MASKS, Tokenizer(type="bpe", vocab_size=600))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_checkpoint_is_refused_before_it_is_loaded(tokenizer: Any, tmp_path: Path) -> None:
    """The folders have no weights, which nobody looks for."""
    from transformers import AutoConfig

    for kind, values, problem in (
        ("llama", LLAMA, "needs a CUDA GPU, and this is cpu"),
        ("gpt2", {"model_type": "gpt2"}, "and this is gpt2"),
    ):
        folder = tmp_path / kind
        AutoConfig.for_model(**values).save_pretrained(folder)
        settings = member("", family="causal", config={}, checkpoint=str(folder), adapter={"unsloth": True})
        with pytest.raises(UserError, match=rf"members\.m\.adapter\.unsloth .*{problem}"):
            read_config("m", settings, tokenizer)


def test_without_the_package_a_gpu_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unsloth, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package unsloth, which is not installed"):
        unsloth.check("members.m", "qwen3", "cuda")
    monkeypatch.setattr(unsloth, "find_spec", lambda name: object())
    unsloth.check("members.m", "qwen3", "cuda")


@pytest.mark.parametrize(
    "values",
    [
        {"packing": True},
        {"loss_chunk_tokens": 128},
        {"r_drop": 1.0},
        {"label_smoothing": 0.1},
        {"torch_compile": True},
        {"config": {"attention_dropout": 0.1}},
        {"launcher": {"processes": 2}},
        {"adapter": {"use_dora": True}},
        {"adapter": {"init_lora_weights": "pissa"}},
        {"adapter": {"quantization": {"bnb_4bit_quant_type": "fp4"}}},
    ],
)
def test_what_does_not_go_with_it_is_refused_in_params(values: dict[str, Any]) -> None:
    base: dict[str, Any] = {"family": "causal", "checkpoint": "qwen3-4b", "config": {}}
    member("", **base, adapter={"unsloth": True, "quantization": {}})
    adapter = {**values.get("adapter", {}), "unsloth": True}
    with pytest.raises(ValidationError, match="unsloth"):
        member("", **{**base, **values, "adapter": adapter})


def test_rows_padded_on_the_right_need_no_mask(tokenizer: Any) -> None:
    """unsloth reads none in training: with the padding on the left, a row would see it."""
    torch.manual_seed(3)
    settings = member("", family="causal", config=LLAMA)
    family, model = family_of(settings), build_model("m", settings, tokenizer).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.normal_(0, 0.3)
    parameters = inspect.signature(model.forward).parameters.keys()
    data = encode_rows(ROWS[:4], tokenizer, family.make_spec("m", settings), 32, GenerationConfig()).dataset
    losses = {}
    for side, masks_padding in (("left", True), ("right", False)):
        batch = make_collator(tokenizer, model, family, masks_padding=masks_padding)(list(data))
        inputs = family.loss_inputs(batch, parameters)
        unmasked = {**inputs, "attention_mask": torch.ones_like(inputs["attention_mask"])}
        losses[side] = [model(**each).loss.item() for each in (inputs, unmasked)]
    expected, mistaken = losses["left"]
    assert losses["right"] == pytest.approx([expected, expected], rel=1e-5)
    assert mistaken != pytest.approx(expected, rel=1e-3)
