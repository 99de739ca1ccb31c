"""Tiny checkpoints in the Hub's layout whose tokenizers are built, and saved, as those of the presets are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
    T5TokenizerFast,
)

from yoyak.models.catalog import entries

KOREAN = ["<s>", "</s>", "<usr>", "<pad>", "<sys>", "<unk>", "<mask>"]
"""The first tokens of SKT's KoBART and KoGPT2."""
BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2}
DECODER = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2,
           "max_position_embeddings": 2048}  # fmt: skip
VOCABULARY = 1200
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
"""As Qwen3's, which lets the model think unless it is told not to."""
LLAMA3 = (
    "{{ bos_token }}<|start_header_id|>system<|end_header_id|>\n\nToday Date: {{ strftime_now('%d %b %Y') }}<|eot_id|>"
    "{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n{{ m.content | trim }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
"""As Llama 3.2's, which writes the day's date."""


def kobart(texts: Sequence[str], folder: Path) -> None:
    """A plain fast tokenizer that marks spaces and adds neither a start nor an end to what it encodes."""
    special = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
    PreTrainedTokenizerFast(tokenizer_object=_metaspace_bpe(texts), **special).save_pretrained(folder)
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 3, "decoder_start_token_id": 1}
    _save(
        BartForConditionalGeneration, BartConfig(vocab_size=VOCABULARY, forced_eos_token_id=1, **tokens, **BART), folder
    )


def kogpt2(texts: Sequence[str], folder: Path) -> None:
    """A tokenizer.json and nothing that says which class or special tokens belong to it."""
    tokens = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 3}
    _save(GPT2LMHeadModel, GPT2Config(vocab_size=VOCABULARY, n_positions=1024, **tokens, **GPT2), folder)
    _metaspace_bpe(texts).save(str(folder / "tokenizer.json"))


def gpt2(texts: Sequence[str], folder: Path) -> None:
    """Byte-level BPE whose one special token ends a text; there is no token for padding."""
    backend = _byte_level(texts, ["<|endoftext|>"])
    end = backend.token_to_id("<|endoftext|>")
    tokens = {"bos_token_id": end, "eos_token_id": end}
    _save(GPT2LMHeadModel, GPT2Config(vocab_size=VOCABULARY, n_positions=1024, **tokens, **GPT2), folder)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 1024}))


def bart(texts: Sequence[str], folder: Path) -> None:
    """Byte-level BPE that puts a start and an end around what it encodes."""
    backend = _byte_level(texts, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    _through_json(backend, folder, BartTokenizerFast)
    tokens = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "decoder_start_token_id": 2}
    _save(
        BartForConditionalGeneration, BartConfig(vocab_size=VOCABULARY, forced_eos_token_id=2, **tokens, **BART), folder
    )


def t5(texts: Sequence[str], folder: Path) -> None:
    """SentencePiece's unigrams behind a split at whitespace, an end behind what it encodes, a hundred sentinels."""
    backend = Tokenizer(Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    special = ["<pad>", "</s>", "<unk>"]
    trainer = UnigramTrainer(vocab_size=800, special_tokens=special, unk_token="<unk>", show_progress=False)
    backend.train_from_iterator(texts, trainer)
    _t5(backend, folder)


def pko_t5(texts: Sequence[str], folder: Path) -> None:
    """T5 with byte-level BPE in the place of SentencePiece, which Korean has no unknown token in."""
    _t5(_byte_level(texts, ["<pad>", "</s>", "<unk>"]), folder)


def llama3(texts: Sequence[str], folder: Path) -> None:
    """Byte-level BPE that puts a start before what it encodes; a chat template; no token for padding."""
    special = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    backend = _byte_level(texts, special)
    backend.post_processor = processors.TemplateProcessing("<|begin_of_text|> $A", None, [("<|begin_of_text|>", 0)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=special[0], eos_token="<|eot_id|>", chat_template=LLAMA3
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, bos_token_id=0, eos_token_id=4, **DECODER)
    _save(LlamaForCausalLM, config, folder)


def qwen3(texts: Sequence[str], folder: Path) -> None:
    """Byte-level BPE, a chat template of a model that thinks, and more embeddings than tokens."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(texts, special), pad_token=special[0], eos_token=special[2], chat_template=CHATML
    )
    tokenizer.save_pretrained(folder)
    config = Qwen3Config(vocab_size=VOCABULARY + 64, num_key_value_heads=1, head_dim=32, eos_token_id=2, **DECODER)
    _save(Qwen3ForCausalLM, config, folder)


def smollm2(texts: Sequence[str], folder: Path) -> None:
    """As SmolLM2 in GGUF: a chat template, and the token that begins a turn in place of the one that ends it."""
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(texts, special), bos_token=special[1], eos_token=special[1], chat_template=CHATML
    )
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, eos_token_id=1, **DECODER)
    _save(LlamaForCausalLM, config, folder)


def solar(texts: Sequence[str], folder: Path) -> None:
    """SentencePiece's BPE as Llama 2 has it, with a start before what it encodes and no token for padding."""
    backend = Tokenizer(BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, show_progress=False)
    backend.train_from_iterator([word for text in texts for word in text.split()], trainer)
    backend.post_processor = processors.TemplateProcessing("<s> $A", None, [("<s>", 1)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(vocab_size=VOCABULARY, num_key_value_heads=1, bos_token_id=1, eos_token_id=2, **DECODER)
    _save(LlamaForCausalLM, config, folder)


def polyglot(texts: Sequence[str], folder: Path) -> None:
    """GPT-NeoX with byte-level BPE, whose one special token ends a text and pads it."""
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=_byte_level(texts, ["<|endoftext|>"]), eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    )
    tokenizer.save_pretrained(folder)
    config = GPTNeoXConfig(vocab_size=VOCABULARY + 64, bos_token_id=0, eos_token_id=0, rotary_pct=0.5, **DECODER)
    _save(GPTNeoXForCausalLM, config, folder)


def kullm(texts: Sequence[str], folder: Path) -> None:
    """Polyglot-Ko, tuned, with its weights in a pickle."""
    polyglot(texts, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


CHECKPOINTS: dict[str, Callable[[Sequence[str], Path], None]] = {
    "kobart": kobart,
    "pko-t5-base": pko_t5,
    "kogpt2": kogpt2,
    "bart-base": bart,
    "flan-t5-base": t5,
    "gpt2": gpt2,
    "llama-3.2-korean-3b": llama3,
    "qwen3-4b": qwen3,
    "solar-10.7b": solar,
    "polyglot-ko-12.8b": polyglot,
    "kullm-v2": kullm,
    "smollm2-135m": smollm2,
}
"""By the name of the catalog."""


def save_in_hub_cache(name: str, texts: Sequence[str], cache: Path) -> None:
    """Save a checkpoint of the catalog where huggingface_hub finds it under its name without a network."""
    repository = cache / f"models--{entries()[name].checkpoint.replace('/', '--')}"
    commit = hashlib.sha1(name.encode()).hexdigest()
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(commit)
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    CHECKPOINTS[name](texts, folder)


def _t5(backend: Tokenizer, folder: Path) -> None:
    backend.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    _through_json(backend, folder, T5TokenizerFast)
    # The embedding of the real ones is larger than their vocabulary.
    config = T5Config(vocab_size=VOCABULARY + 128, decoder_start_token_id=0, tie_word_embeddings=False, **T5)
    _save(T5ForConditionalGeneration, config, folder)


def _metaspace_bpe(texts: Sequence[str]) -> Tokenizer:
    backend = Tokenizer(BPE(unk_token="<unk>"))
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    backend.decoder = decoders.Metaspace(prepend_scheme="always")
    backend.train_from_iterator(texts, BpeTrainer(vocab_size=VOCABULARY, special_tokens=KOREAN, show_progress=False))
    return backend


def _byte_level(texts: Sequence[str], special: list[str]) -> Tokenizer:
    backend = Tokenizer(BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return backend


def _through_json(backend: Tokenizer, folder: Path, tokenizer: Any) -> None:
    """Save a tokenizer through its own class, which adds what it always adds."""
    folder.mkdir(parents=True, exist_ok=True)
    backend.save(str(folder / "backend.json"))
    tokenizer(tokenizer_file=str(folder / "backend.json")).save_pretrained(folder)
    (folder / "backend.json").unlink()


def _save(model: type[PreTrainedModel], config: PretrainedConfig, folder: Path) -> None:
    torch.manual_seed(0)
    model(config).save_pretrained(folder)
