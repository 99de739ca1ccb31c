"""LoRA adapters: attaching them to a checkpoint, merging them into its weights, and saving them apart.

peft and bitsandbytes are imported by members that have an adapter, and by nothing else.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers.pytorch_utils import Conv1D

from yoyak.errors import UserError, first_line
from yoyak.params.adapters import Lora, Quantization

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

OPTION = "base"
"""The option of a spec that says which checkpoint an adapter belongs to: the fields of `Base`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """The checkpoint under an adapter."""

    checkpoint: str
    """A folder, or a name on the Hub."""
    revision: str | None
    """The commit of a name on the Hub."""
    identity: str
    """The folder's md5, or ``name@commit``."""
    weights: str | None
    """Digest of a folder's weights; None for a name on the Hub, which ``revision`` fixes."""
    config: dict[str, Any]
    """Overrides of its config."""
    embeddings: int
    """Rows of the embedding, with those of tokens that the checkpoint does not have."""
    quantization: dict[str, Any] | None
    """The fields of `Quantization`, if the adapter was trained over 4 bits."""


def quantization_config(quantization: Quantization, dtype: str) -> BitsAndBytesConfig:
    """Return the config that loads a checkpoint in 4 bits and computes in ``dtype``."""
    from transformers import BitsAndBytesConfig

    # It recommends a package that would load code from the Hub, for the kernel that `keep_layout` does without.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_compute_dtype=getattr(torch, dtype), **quantization.model_dump()
    )


def keep_layout(model: Any) -> None:
    """Keep bitsandbytes from reordering the 4-bit weights of a model that was just loaded.

    On a processor with AVX512-BF16 a layer's first step without gradients reorders its weights in place for a kernel
    for inference. A later training step then has no gradients, expanding the weights for a merge gives other ones, and
    small layers crash.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def attach(where: str, model: Any, lora: Lora, new_tokens: Sequence[int]) -> Any:
    """Return a PeftModel around ``model``, in which only the adapter is trained.

    Args:
        new_tokens: Tokens that the checkpoint has no trained embedding for; their rows are trained too.

    Raises UserError if the adapter does not fit the model.
    """
    from peft import LoraConfig, TaskType, get_peft_model

    settings = lora.model_dump(exclude={"quantization", "merge", "min_merge_agreement", "unsloth"})
    initialization = settings.pop("init_lora_weights")
    config = LoraConfig(
        **settings,
        task_type=TaskType.SEQ_2_SEQ_LM if model.config.is_encoder_decoder else TaskType.CAUSAL_LM,
        init_lora_weights=True if initialization == "default" else initialization,
        trainable_token_indices=_trainable_tokens(model, new_tokens),
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    shared = _shares_embeddings(model)
    try:
        adapted = get_peft_model(model, config)
    except (ValueError, TypeError, NotImplementedError, RuntimeError) as error:
        raise UserError(f"{where}.adapter does not fit the checkpoint: {first_line(error)}") from error
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    if shared:
        # peft replaces the first of them only.
        model.set_input_embeddings(model.get_input_embeddings())
    return adapted


def _shares_embeddings(model: Any) -> bool:
    """Return whether several modules have the same embeddings as a part, as T5's encoder and decoder do."""
    embedding = model.get_input_embeddings()
    return sum(part is embedding for module in model.modules() for part in module._modules.values()) > 1


def _trainable_tokens(model: Any, tokens: Sequence[int]) -> list[int] | dict[str, list[int]] | None:
    """Return the rows of the embeddings that are trained; of the output layer too, unless it is tied to the input's."""
    if not tokens:
        return None
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or head.weight is embedding.weight:
        return list(tokens)
    names = {id(module): name.rpartition(".")[2] for name, module in model.named_modules()}
    return {names[id(embedding)]: list(tokens), names[id(head)]: list(tokens)}


def save_adapter(adapted: Any, folder: Path) -> None:
    """Write the adapter's weights and config, as peft loads them onto the checkpoint's own weights."""
    for config in adapted.peft_config.values():
        # What initializes by changing the checkpoint's weights must not change them again when the adapter is loaded.
        config.init_lora_weights = True
        config.inference_mode = True
    adapted.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)


def merge(adapted: Any, dtype: str) -> Any:
    """Return the plain model with the adapter in its weights.

    A model in 4 bits is expanded first: merging into 4 bits would round the adapter away. What it was trained with are
    the rounded weights, so they are what the adapter is added to, not those of the checkpoint.
    """
    model = adapted.get_base_model()
    shared = _shares_embeddings(model)
    merged = _merge_quantized(adapted, dtype) if getattr(model, "is_quantized", False) else adapted.merge_and_unload()
    if shared:
        merged.set_input_embeddings(merged.get_input_embeddings())
    return merged


def _merge_quantized(adapted: Any, dtype: str) -> Any:
    shared = _shares_embeddings(adapted.get_base_model())
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        save_adapter(adapted, Path(temporary))
        plain = adapted.unload()
        if shared:
            plain.set_input_embeddings(plain.get_input_embeddings())
        expanded = plain.dequantize().to(getattr(torch, dtype))
        merged = load_adapter(expanded, Path(temporary)).merge_and_unload()
    return _restore_conv1d(merged)


def _restore_conv1d(model: Any) -> Any:
    """Turn the linear layers of a model that was in 4 bits back into the Conv1D that GPT-2 has in their place."""
    with torch.device("meta"):
        original = type(model)(model.config)
    for name, module in original.named_modules():
        linear = model.get_submodule(name)
        if isinstance(module, Conv1D) and isinstance(linear, torch.nn.Linear):
            restored = Conv1D(linear.out_features, linear.in_features).to(linear.weight.dtype)
            restored.weight.data, restored.bias.data = linear.weight.data.T.contiguous(), linear.bias.data
            model.set_submodule(name, restored)
    return model


def load_adapter(model: Any, folder: Path) -> Any:
    """Return a PeftModel around ``model`` with the adapter of a folder attached to its layers."""
    from peft import PeftModel

    shared = _shares_embeddings(model)
    adapted = PeftModel.from_pretrained(model, str(folder))
    if shared:
        model.set_input_embeddings(model.get_input_embeddings())
    return adapted


def base_options(base: Base) -> dict[str, Any]:
    """Return the options of a spec whose adapter is saved apart."""
    return {OPTION: asdict(base)}
