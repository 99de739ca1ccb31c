"""Adapters: few weights are trained, over 4 bits too, and the model that is saved is the one that was trained."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PreTrainedTokenizerBase,
    TrainerCallback,
)

from training.tiny_training import MASKS, ROWS, SCORING, TEXTS, member, train
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.models.load import load_plain
from yoyak.models.tokenizers import load_tokenizer, train_tokenizer
from yoyak.params import Generation, Tokenizer
from yoyak.training.trainer import train_member

SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "bart": ("seq2seq", {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64,
                         "decoder_ffn_dim": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
                         "max_position_embeddings": 512, "decoder_start_token_id": 2, "forced_eos_token_id": None}),
    "llama": ("causal", {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                         "num_key_value_heads": 1, "max_position_embeddings": 512, "tie_word_embeddings": True}),
    "gpt2": ("causal", {"n_embd": 64, "n_layer": 1, "n_head": 2, "n_positions": 512}),
    "t5": ("seq2seq", {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 1, "num_heads": 2,
                       "feed_forward_proj": "gated-gelu", "decoder_start_token_id": 0, "tie_word_embeddings": False}),
}  # fmt: skip
FAST = {"num_epochs": 2, "learning_rate": 0.01, "evaluations": 2}


def save_checkpoint(kind: str, folder: Path) -> dict[str, Any]:
    """Save a checkpoint whose tokenizer knows no masks, and return the values of a member that starts from it."""
    family, sizes = SIZES[kind]
    tokenizer = train_tokenizer(TEXTS, [], Tokenizer(type="bpe", vocab_size=500))
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **tokens, **sizes)
    torch.manual_seed(0)
    model = (AutoModelForSeq2SeqLM if family == "seq2seq" else AutoModelForCausalLM).from_config(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return {"family": family, "checkpoint": str(folder), "config": {}, **FAST}


def summaries(folder: Path) -> list[str]:
    beams = Generation(num_beams=2, num_return_sequences=2, max_new_tokens=16)
    found = TorchSummarizer.load(folder, "cpu").summarize([row.dialogue for row in ROWS[:6]], generation=beams)
    return [candidate.text for each in found.candidates for candidate in each]


LORA: dict[str, Any] = {}
DORA = {"use_dora": True, "use_rslora": True}
PISSA = {"init_lora_weights": "pissa"}
QLORA: dict[str, Any] = {"quantization": {}}


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [("bart", LORA), ("t5", LORA), ("llama", LORA), ("gpt2", LORA), ("bart", DORA), ("gpt2", DORA), ("t5", PISSA),
     ("llama", PISSA), ("bart", QLORA), ("t5", QLORA), ("llama", QLORA), ("gpt2", QLORA)],
)  # fmt: skip
def test_a_merged_model_needs_neither_adapter_nor_checkpoint(
    kind: str, adapter: dict[str, Any], tmp_path: Path
) -> None:
    values = save_checkpoint(kind, tmp_path / "checkpoint")
    tokenizer = load_tokenizer(tmp_path / "checkpoint", MASKS)
    result = train(kind, tokenizer, tmp_path, adapter={"r": 4, **adapter}, **values)
    metrics = result.metrics
    assert 0 < metrics.trained_parameters < metrics.parameters / 2
    assert metrics.merge_agreement >= 0.98
    losses = [row["eval_loss"] for row in result.curves if "eval_loss" in row]
    assert losses[-1] < losses[0]
    assert not (tmp_path / "model/adapter_config.json").exists()
    assert "quantization_config" not in json.loads((tmp_path / "model/config.json").read_text())
    (tmp_path / "checkpoint").rename(tmp_path / "elsewhere")
    assert len(set(summaries(tmp_path / "model"))) > 0


@pytest.mark.parametrize("kind", ["bart", "llama"])
@pytest.mark.parametrize("adapter", [{}, {"quantization": {}}], ids=["lora", "qlora"])
def test_an_adapter_saved_apart_writes_what_the_merged_model_writes(
    kind: str, adapter: dict[str, Any], tmp_path: Path
) -> None:
    values = save_checkpoint(kind, tmp_path / "checkpoint")
    for name, merge in (("merged", True), ("apart", False)):
        tokenizer = load_tokenizer(tmp_path / "checkpoint", MASKS)
        train(kind, tokenizer, tmp_path / name, adapter={"r": 4, "merge": merge, **adapter}, **values)
    apart = tmp_path / "apart/model"
    size = sum(path.stat().st_size for path in apart.glob("*.safetensors"))
    assert size < sum(path.stat().st_size for path in (tmp_path / "merged/model").glob("*.safetensors"))
    base = json.loads((apart / "yoyak.json").read_text())["options"]["base"]
    assert base["checkpoint"] == str(tmp_path / "checkpoint")
    assert len(base["identity"]) > 30
    assert summaries(apart) == summaries(tmp_path / "merged/model")
    plain = load_plain(apart, TorchSummarizer.load(apart, "cpu").family)
    assert not [name for name, _ in plain.named_parameters() if "lora" in name]
    weights = tmp_path / "checkpoint/model.safetensors"
    tensors = load_file(weights)
    weights.unlink()
    save_file({name: tensor * 1.5 for name, tensor in tensors.items()}, weights, metadata={"format": "pt"})
    with pytest.raises(UserError, match="other weights"):
        summaries(apart)
    (tmp_path / "checkpoint").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=r"adapter of .*merge: true"):
        summaries(apart)


@pytest.mark.parametrize(
    ("kind", "tied", "tensors"),
    [
        ("llama", True, ["model.embed_tokens.weight"]),
        ("llama", False, ["model.embed_tokens.weight", "lm_head.weight"]),
        ("t5", True, ["shared.weight"]),
        ("t5", False, ["shared.weight", "lm_head.weight"]),
    ],
)
def test_the_embeddings_of_masks_are_trained_and_no_others(
    kind: str, tied: bool, tensors: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SIZES, kind, (SIZES[kind][0], {**SIZES[kind][1], "tie_word_embeddings": tied}))
    values = save_checkpoint(kind, tmp_path / "checkpoint")
    for name, rate in (("still", 1e-12), ("moved", 0.01)):
        tokenizer = load_tokenizer(tmp_path / "checkpoint", MASKS)
        result = train(kind, tokenizer, tmp_path / name, adapter={"r": 4}, **{**values, "learning_rate": rate})
        assert result.metrics.merge_agreement == 1
    masks = tokenizer.convert_tokens_to_ids(MASKS[:2])
    files = [tmp_path / name / "model.safetensors" for name in ("checkpoint", "still/model", "moved/model")]
    for name in tensors:
        checkpoint, still, moved = (load_file(file)[name] for file in files)
        assert torch.equal(checkpoint, moved[: len(checkpoint)])
        assert not torch.allclose(still[masks], moved[masks], atol=1e-3)


class MemoryAfterTraining(TrainerCallback):
    """Watches the first forward pass after the training, in which memory may run out."""

    def __init__(self, *, runs_out: bool) -> None:
        self.runs_out = runs_out
        self.optimizer_is_freed: bool | None = None

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer = weakref.ref(kwargs["optimizer"].optimizer)

        def look(*_: Any) -> None:
            self.optimizer_is_freed = optimizer() is None
            if self.runs_out:
                raise MemoryError

        kwargs["model"].register_forward_pre_hook(look)


@pytest.mark.parametrize("runs_out", [False, True])
def test_an_adapter_is_merged_in_the_memory_of_its_optimizer(runs_out: bool, tmp_path: Path, capsys) -> None:
    values = {**save_checkpoint("gpt2", tmp_path / "checkpoint"), "num_epochs": 1, "evaluations": 1}
    tokenizer, watch = load_tokenizer(tmp_path / "checkpoint", MASKS), MemoryAfterTraining(runs_out=runs_out)
    train_member(
        "gpt2", member("gpt2", **values, adapter={"r": 4}), tokenizer=tokenizer, train=ROWS[:32], dev=ROWS[32:],
        scoring=SCORING, seed=7, out=tmp_path / "model", checkpoints=tmp_path / "checkpoints", callbacks=[watch],
    )  # fmt: skip
    assert watch.optimizer_is_freed
    assert (tmp_path / "model/adapter_config.json").exists() == runs_out
    assert ("memory ran out while its adapter was merged" in capsys.readouterr().err) == runs_out


def test_a_killed_training_of_an_adapter_goes_on_with_the_same_result(tmp_path: Path) -> None:
    values = {**save_checkpoint("llama", tmp_path / "checkpoint"), "adapter": {"r": 4}, "evaluations": 4}

    class KilledError(Exception):
        pass

    def kill(step: int, _: Any) -> None:
        if step >= 5:
            raise KilledError

    def load() -> PreTrainedTokenizerBase:
        return load_tokenizer(tmp_path / "checkpoint", MASKS)

    train("llama", load(), tmp_path / "whole", **values)
    with pytest.raises(KilledError):
        train("llama", load(), tmp_path / "killed", log=kill, **values)
    assert list((tmp_path / "killed/checkpoints").glob("checkpoint-*"))
    train("llama", load(), tmp_path / "killed", **values)
    first, second = ((tmp_path / name / "model/model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert first == second


@pytest.mark.parametrize(
    ("values", "problem"),
    [({"adapter": {"target_modules": ["no_such_layer"]}}, "adapter"), ({"precision": "fp16"}, "fp16"),
     ({"optim": "paged_adamw_8bit"}, "paged_adamw_8bit")],
)  # fmt: skip
def test_what_does_not_fit_is_one_sentence_and_leaves_nothing(
    values: dict[str, Any], problem: str, tmp_path: Path
) -> None:
    settings = {**save_checkpoint("llama", tmp_path / "checkpoint"), **values}
    with pytest.raises(UserError, match=rf"members\.llama.*{problem}"):
        train("llama", load_tokenizer(tmp_path / "checkpoint", MASKS), tmp_path, **settings)
    assert not (tmp_path / "model").exists()


def test_an_adapter_needs_a_checkpoint_that_stays_as_it_is() -> None:
    with pytest.raises(ValueError, match="adapter needs a checkpoint"):
        member("bart", adapter={})
    with pytest.raises(ValueError, match="pissa changes the checkpoint"):
        member("bart", checkpoint="kobart", adapter={"init_lora_weights": "pissa", "merge": False})


def test_overrides_of_the_config_go_with_an_adapter(tmp_path: Path) -> None:
    values = save_checkpoint("llama", tmp_path / "checkpoint")
    tokenizer = load_tokenizer(tmp_path / "checkpoint", MASKS)
    train("llama", tokenizer, tmp_path, adapter={"r": 4, "merge": False}, **{**values, "config": {"rope_theta": 17.0}})
    assert TorchSummarizer.load(tmp_path / "model", "cpu").model.config.rope_theta == 17.0
