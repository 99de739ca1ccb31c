"""Tiny checkpoints in the Hub's layout whose tokenizers are built, and saved, as those of the presets are."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, normalizers, pre_tokenizers, processors
from tokenizers.models import BPE, Unigram
from tokenizers.trainers import BpeTrainer, UnigramTrainer
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BartTokenizerFast,
    GPT2Config,
    GPT2LMHeadModel,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    T5TokenizerFast,
)

KOREAN = ["<s>", "</s>", "<usr>", "<pad>", "<sys>", "<unk>", "<mask>"]
"""The first tokens of SKT's KoBART and KoGPT2."""
BART = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
        "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}  # fmt: skip
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "feed_forward_proj": "gated-gelu"}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2}
VOCABULARY = 1200


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


CHECKPOINTS: dict[str, Callable[[Sequence[str], Path], None]] = {
    "kobart": kobart,
    "pko-t5-base": pko_t5,
    "kogpt2": kogpt2,
    "bart-base": bart,
    "flan-t5-base": t5,
    "gpt2": gpt2,
}
"""By the name of the catalog."""


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
