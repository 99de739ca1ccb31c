"""The key ``adapter`` of a member: training few weights beside the checkpoint's own, which stay as they are."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from yoyak.params.base import Fraction, Section, Share

Initialization = Literal["default", "gaussian", "pissa", "olora", "orthogonal"]
"""How the matrices of LoRA start; the names are peft's, but for its True, which is ``default``."""


class Quantization(Section):
    """The checkpoint in 4 bits (QLoRA). The names are those of transformers' BitsAndBytesConfig."""

    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    bnb_4bit_use_double_quant: bool = True


class Lora(Section):
    """Low-rank matrices beside linear layers. The names are those of peft's LoraConfig."""

    r: Annotated[int, Field(gt=0)] = 16
    lora_alpha: Annotated[float, Field(gt=0)] = 32
    lora_dropout: Fraction = 0.05
    target_modules: Annotated[list[str], Field(min_length=1)] | Literal["all-linear"] = "all-linear"
    """Names of layers, or all linear ones but the output layer."""
    use_rslora: bool = False
    """Scale by ``lora_alpha / sqrt(r)`` in place of ``lora_alpha / r``, for large ``r``."""
    use_dora: bool = False
    """Train each layer's magnitude apart from its direction."""
    init_lora_weights: Initialization = "default"
    quantization: Quantization | None = None
    """Keep the checkpoint in 4 bits while training; null keeps the training precision."""
    unsloth: bool = False
    """Train with the kernels of the package unsloth, on a CUDA GPU and for the models that it supports; anything else
    is refused."""
    merge: bool = True
    """Save one model with the adapter merged into its weights; false saves the adapter alone, which then needs the
    checkpoint wherever it is loaded."""
    min_merge_agreement: Share = 0.98
    """Merging rounds the adapter to the precision of the weights. A merged model that predicts a smaller share of the
    tokens of dev as with its adapter attached is not saved: the adapter is saved apart."""

    @property
    def changes_checkpoint(self) -> bool:
        """Whether it starts by taking something out of the checkpoint's weights, to which it alone does not belong."""
        return self.init_lora_weights in ("pissa", "olora")

    @model_validator(mode="after")
    def _suits_unsloth(self) -> Lora:
        if not self.unsloth:
            return self
        if self.use_dora or self.init_lora_weights not in ("default", "gaussian"):
            raise ValueError("unsloth needs use_dora: false, and init_lora_weights: default or gaussian")
        if self.quantization is not None and self.quantization != Quantization():
            raise ValueError("unsloth quantizes to NF4 with double quantization alone: write quantization: {}")
        return self

    @model_validator(mode="after")
    def _can_be_apart(self) -> Lora:
        if self.changes_checkpoint and not self.merge:
            raise ValueError(
                f"init_lora_weights: {self.init_lora_weights} changes the checkpoint, and needs merge: true"
            )
        return self
