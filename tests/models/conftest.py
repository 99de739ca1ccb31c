"""Tiny checkpoints in the Hub's layout, as other people's are."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

from yoyak.models.tokenizers import train_tokenizer
from yoyak.params import Tokenizer as TokenizerParams

TEXTS = [
    "#Person1#: 안녕하세요, 예약 가능한가요?\n#Person2#: 네, 몇 분이세요?",
    "#Person1#은 #Person2#에게 일곱 시로 예약한다.",
    "summarize: 전화번호는 #PhoneNumber#입니다. 감사합니다!",
] * 30

FAMILIES = {
    "bart": ("seq2seq", {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
                         "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
                         "max_position_embeddings": 128}),
    "t5": ("seq2seq", {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}),
    "mt5": ("seq2seq", {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}),
    "gpt2": ("causal", {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 256}),
    "llama": ("causal", {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                         "num_key_value_heads": 1, "max_position_embeddings": 256}),
    "qwen2": ("causal", {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                         "num_key_value_heads": 1, "max_position_embeddings": 256}),
    "gpt_neox": ("causal", {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
                            "num_attention_heads": 2, "max_position_embeddings": 256}),
}  # fmt: skip


@pytest.fixture(scope="session", params=sorted(FAMILIES))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, Path]:
    """``(model_type, family, folder)`` of a checkpoint saved in bf16, whose tokenizer knows no masks."""
    kind = request.param
    family, sizes = FAMILIES[kind]
    folder = tmp_path_factory.mktemp(kind)
    tokenizer = train_tokenizer(TEXTS, [], TokenizerParams(type="bpe", vocab_size=400))
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    if family == "seq2seq":
        tokens |= {"decoder_start_token_id": 2, "forced_eos_token_id": 2}
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **tokens, **sizes)
    torch.manual_seed(0)
    classes = {"seq2seq": AutoModelForSeq2SeqLM, "causal": AutoModelForCausalLM}
    classes[family].from_config(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return kind, family, folder
