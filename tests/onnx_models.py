"""Tiny models of each family as `yoyak train` saves them, with weights so large that no two tokens are alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MT5Config,
    MT5ForConditionalGeneration,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from mlflow_helpers import DIALOGUE
from yoyak.models.spec import ModelSpec, save_spec
from yoyak.params import Generation

VOCABULARY = 300
WINDOW = 128
IDS = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 2,
      "decoder_start_token_id": 1, "feed_forward_proj": "gated-gelu"}  # fmt: skip
LLAMA = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": WINDOW, "tie_word_embeddings": True}  # fmt: skip

MODELS: dict[str, Callable[[], Any]] = {
    "bart": lambda: BartForConditionalGeneration(
        BartConfig(
            vocab_size=VOCABULARY, d_model=32, encoder_layers=1, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, max_position_embeddings=WINDOW,
            decoder_start_token_id=2, forced_eos_token_id=None, **IDS,
        )
    ),
    "t5": lambda: T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, **T5, **IDS)),
    "mt5": lambda: MT5ForConditionalGeneration(
        MT5Config(vocab_size=VOCABULARY, tie_word_embeddings=False, **T5, **IDS)
    ),
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=WINDOW, **IDS)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, **LLAMA, **IDS)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(vocab_size=VOCABULARY, **LLAMA, **IDS)),
}  # fmt: skip
SEQ2SEQ = ("bart", "t5", "mt5")


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE of 300 tokens."""
    trained = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "#Person1#", "#Person2#"]
    trained.train_from_iterator([DIALOGUE], vocab_size=VOCABULARY, special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=trained._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def save_model(kind: str, folder: Path) -> Path:
    """Save a model whose logits are far from each other: rounding cannot change which token is best."""
    torch.manual_seed(3)
    model = MODELS[kind]().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 2:
                wide = "relative_attention_bias" in name or parameter.shape[0] in (VOCABULARY, WINDOW, WINDOW + 2)
                parameter.copy_(torch.randn_like(parameter) * (0.6 if wide else 0.35))
    model.tie_weights()
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    family = "seq2seq" if kind in SEQ2SEQ else "causal"
    save_spec(
        folder,
        ModelSpec(
            member=kind,
            family=family,
            prefix="",
            separator="\n요약: " if family == "causal" else "",
            max_input_tokens=96,
            generation=Generation(max_new_tokens=12, num_beams=1, num_return_sequences=1),
        ),
    )
    return folder
