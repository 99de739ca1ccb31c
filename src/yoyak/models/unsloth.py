"""unsloth's kernels in place of transformers' layers, while an adapter is trained on a CUDA GPU.

unsloth loads the checkpoint with layers of its own, and replaces what runs through the matrices of an adapter that peft
has attached as usual. What is saved is an adapter, or a merged model, like any other.

Nobody has run this for Yoyak yet: it is written after unsloth 2026.8 and needs a GPU.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch

from yoyak.errors import UserError
from yoyak.models.checkpoints import Source

ARCHITECTURES = ("gemma", "gemma2", "llama", "mistral", "qwen2", "qwen3")
"""Values of ``model_type`` that unsloth has kernels for."""


def check(where: str, model_type: str, device: str) -> None:
    """Raise UserError if a member cannot be trained with unsloth here.

    Args:
        where: The member's key in params.yaml.
        device: ``cpu``, ``cuda`` or ``mps``.
    """
    key, otherwise = f"{where}.adapter.unsloth", "leave it out, and the same adapter is trained without it"
    if model_type not in ARCHITECTURES:
        raise UserError(f"{key} supports {', '.join(ARCHITECTURES)}, and this is {model_type}: {otherwise}.")
    if device != "cuda":
        raise UserError(f"{key} needs a CUDA GPU, and this is {device}: {otherwise}.")
    if find_spec("unsloth") is None:
        raise UserError(f"{key} needs the package unsloth, which is not installed: see docs/models.md, or {otherwise}.")


def load(source: Source, *, dtype: str, four_bits: bool, max_tokens: int, device: torch.device) -> Any:
    """Return a checkpoint's model with unsloth's layers, its weights in ``dtype`` or 4 bits.

    Args:
        max_tokens: Of the longest row.
    """
    from unsloth import FastLanguageModel

    model, _ = FastLanguageModel.from_pretrained(
        model_name=source.weights,
        revision=source.revision,
        # Without this it loads a copy of its own in 4 bits in place of a checkpoint that it knows.
        use_exact_model_name=True,
        max_seq_length=max_tokens,
        dtype=getattr(torch, dtype),
        load_in_4bit=four_bits,
        device_map={"": device},
        # The tokenizer is loaded, and changed, elsewhere.
        fix_tokenizer=False,
        trust_remote_code=False,
        use_gradient_checkpointing=False,
    )
    return model


def patch(adapted: Any, *, gradient_checkpointing: bool) -> Any:
    """Return a PeftModel whose adapter runs through unsloth's kernels; those need ``lora_dropout: 0.0``."""
    from unsloth import FastLanguageModel

    return FastLanguageModel.patch_peft_model(
        adapted, use_gradient_checkpointing="unsloth" if gradient_checkpointing else False
    )
