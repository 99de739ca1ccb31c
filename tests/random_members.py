"""Small models of random weights, of several architectures."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import PreTrainedTokenizerFast

from trained_members import parse_trained
from yoyak.decoding.torch import TorchSummarizer
from yoyak.models.families import family_of
from yoyak.models.load import build_model

MASKS = ["#Person1#", "#Person2#"]
DIALOGUES = [
    "#Person1#: 안녕하세요, 예약 가능한가요?\n#Person2#: 네, 몇 분이세요?\n#Person1#: 네 명이요. 일곱 시에 갈게요.",
    "#Person1#: 네.",
    "#Person1#: 내일 만날까요?\n#Person2#: 아니요, 모레가 좋아요.",
    "#Person2#: 전화번호가 어떻게 되세요? 감사합니다!",
    "",
]
SIZES = {
    "bart": {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2,
             "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
             "max_position_embeddings": 128},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 2, "num_heads": 2},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 256},
    "llama": {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
              "num_key_value_heads": 1, "max_position_embeddings": 256},
}  # fmt: skip


def make(kind: str, seed: int, tokenizer: PreTrainedTokenizerFast, end: float = 2.0) -> TorchSummarizer:
    """A model of random weights that writes now this, now that, and ends now and then."""
    member = parse_trained(
        {
            "family": "causal" if kind in ("gpt2", "llama") else "seq2seq",
            # An untrained model whose embeddings are its output layer too repeats one token for ever.
            "config": {"model_type": kind, "tie_word_embeddings": False, **SIZES[kind]},
            "tokenizer": "bpe",
            "learning_rate": 0.1,
            "prefix": "요약: " if kind == "t5" else "",
            "max_input_tokens": 40 + seed,
            "max_target_tokens": 16,
        }
    )
    torch.manual_seed(seed)
    model = build_model(kind, member, tokenizer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.3 if "lm_head" not in name else 0.6)
        model.get_output_embeddings().weight[tokenizer.eos_token_id] *= end
    return TorchSummarizer(model.eval(), tokenizer, family_of(member).make_spec(f"{kind}{seed}", member))


@torch.inference_mode()
def next_logits(member: TorchSummarizer, dialogue: str, written: Sequence[int]) -> torch.Tensor:
    """What a model says of the next token: one dialogue, no padding, no cache."""
    inputs = member.encode([dialogue]).input_ids
    if member.spec.family == "causal":
        return member.model(input_ids=torch.tensor([inputs[0] + list(written)])).logits[0, -1]
    start = member.model.config.decoder_start_token_id
    return member.model(
        input_ids=torch.tensor(inputs), decoder_input_ids=torch.tensor([[start, *written]]), use_cache=False
    ).logits[0, -1]
