"""Models with random weights in the shapes of Korean checkpoints, and how fast the machine could run them at best."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WIDTH, NEW_TOKENS = 256, 64
"""Tokens of a dialogue, and those that are written for each."""
SPECIAL = {"<s>": 0, "</s>": 1, "<unk>": 2, "<pad>": 3}
IDS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 3}


@dataclass(frozen=True)
class Shape:
    """A shape of a model."""

    vocabulary: int
    family: str
    build: Callable[[], Any]
    """Returns the model in torch."""


def make_bart() -> Any:
    """6+6 layers, width 768, 16 heads, 124 million parameters."""
    from transformers import BartConfig, BartForConditionalGeneration

    config = BartConfig(
        vocab_size=30_000, d_model=768, encoder_layers=6, decoder_layers=6, encoder_attention_heads=16,
        decoder_attention_heads=16, encoder_ffn_dim=3072, decoder_ffn_dim=3072, max_position_embeddings=1026,
        decoder_start_token_id=1, forced_eos_token_id=None, normalize_before=False, normalize_embedding=True, **IDS,
    )  # fmt: skip
    return BartForConditionalGeneration(config)


def make_t5() -> Any:
    """12+12 layers, width 768, 12 heads, gated, 275 million parameters."""
    from transformers import T5Config, T5ForConditionalGeneration

    config = T5Config(
        vocab_size=50_358, d_model=768, d_kv=64, d_ff=2048, num_layers=12, num_heads=12,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, decoder_start_token_id=3, **IDS,
    )  # fmt: skip
    return T5ForConditionalGeneration(config)


def make_gpt2() -> Any:
    """12 layers, width 768, 12 heads, 125 million parameters."""
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(vocab_size=51_200, n_embd=768, n_layer=12, n_head=12, n_positions=1024, **IDS))


SHAPES = {
    "kobart": Shape(30_000, "seq2seq", make_bart),
    "pko-t5-base": Shape(50_358, "seq2seq", make_t5),
    "kogpt2": Shape(51_200, "causal", make_gpt2),
}


def make_model(folder: Path, name: str) -> None:
    """Save a model of a shape, with a tokenizer whose tokens are t4, t5 and so on."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from yoyak.models.spec import ModelSpec, save_spec
    from yoyak.params import Generation

    shape = SHAPES[name]
    torch.manual_seed(0)
    shape.build().save_pretrained(folder)
    words = SPECIAL | {f"t{number}": number for number in range(len(SPECIAL), shape.vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(folder)
    way = Generation(max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, num_beams=1, num_return_sequences=1)
    spec = ModelSpec(member=name, family=shape.family, prefix="", separator="", max_input_tokens=WIDTH, generation=way)
    save_spec(folder, spec)


@dataclass(frozen=True)
class Work:
    """What a model has to read and to multiply at least."""

    step_bytes: int
    """Bytes of the weights that a step reads."""
    cache_bytes: int
    """Bytes of the cache of its input that a step reads of each dialogue."""
    step_products: int
    """Multiplications with weights for each text in a step."""
    input_products: int
    """Multiplications with weights for each dialogue, once."""

    def seconds(self, batch: int, beams: int, *, bandwidth: float, rate: float) -> float:
        """Return how long a batch takes at ``bandwidth`` bytes and ``rate`` multiplications per second."""
        reading = (self.step_bytes + batch * self.cache_bytes) / bandwidth
        multiplying = batch * beams * self.step_products / rate
        return batch * self.input_products / rate + NEW_TOKENS * max(reading, multiplying)


def count_work(folder: Path) -> Work:
    """Count what an exported model in INT8 has to do; its attention to tokens that it has written is left out."""
    import onnx

    weights, head = {}, 0
    for path in folder.glob("*coder.onnx"):
        graph = onnx.load(path, load_external_data=False).graph
        sizes = {tensor.name: tensor.dims for tensor in graph.initializer}
        transposed = {node.output[0]: sizes[node.input[0]] for node in graph.node if node.input[:1] and
                      node.op_type == "Transpose" and node.input[0] in sizes}  # fmt: skip
        found = [
            (sizes | transposed)[node.input[1]]
            for node in graph.node
            if node.op_type == "MatMulIntegerToFloat" and node.input[1] in sizes | transposed
        ]
        weights[path.stem] = sum(rows * columns for rows, columns in found)
        if path.stem == "decoder":
            head = max(rows * columns for rows, columns in found)
            caches = [value.type.tensor_type for value in graph.input if ".encoder." in value.name]
    cache = sum(
        WIDTH * kind.shape.dim[1].dim_value * max(kind.shape.dim[2].dim_value, kind.shape.dim[3].dim_value)
        for kind in caches
        if kind.elem_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8)
    )
    # Without an encoder, the decoder reads the input, and computes logits for its last token only.
    once = weights.get("encoder", weights["decoder"] - head)
    return Work(weights["decoder"], cache, weights["decoder"], WIDTH * once)
