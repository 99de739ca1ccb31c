"""Saving a trained model: as it is, with its adapter merged, or the adapter apart."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from yoyak.decoding.torch import ran_out_of_memory
from yoyak.errors import UserError
from yoyak.models import adapters
from yoyak.models.families import family_of
from yoyak.models.spec import ModelSpec, save_spec
from yoyak.models.text import IGNORED
from yoyak.params.adapters import Lora

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapted:
    """A model with an adapter, as it was trained."""

    model: Any
    """The PeftModel."""
    lora: Lora
    base: adapters.Base
    batches: Sequence[Mapping[str, Any]]
    """What the model is called with on some rows of dev, on which the merged model is compared with it."""


def save_adapted(adapted: Adapted, tokenizer: PreTrainedTokenizerBase, spec: ModelSpec, out: Path) -> float:
    """Save a model to the folder ``out``, merged if its params say so and it predicts what it did before.

    Returns the share of tokens that the merged model predicts alike; 1 if it is not merged.
    """
    out.mkdir(exist_ok=True)
    # Merging changes the model; the adapter may still be needed.
    adapters.save_adapter(adapted.model, out)
    config, generation = adapted.model.get_base_model().config, adapted.model.get_base_model().generation_config
    agreement = 1.0
    if adapted.lora.merge:
        merged, agreement, problem = _merge(adapted, spec)
        if merged is not None and problem and adapted.lora.changes_checkpoint:
            # Apart it would belong to weights that are nowhere saved.
            print(f"warning: members.{spec.member}: {problem}", file=sys.stderr)
            problem = ""
        if merged is not None and not problem:
            for path in list(out.iterdir()):
                path.unlink()
            family_of(spec).save(merged, tokenizer, spec, out)
            return agreement
        if adapted.lora.changes_checkpoint:
            raise UserError(
                f"members.{spec.member}: {problem}; {adapted.lora.init_lora_weights} cannot be saved apart."
            )
        print(
            f"warning: members.{spec.member}: {problem}: it is saved apart, as with adapter.merge: false",
            file=sys.stderr,
        )
    config.save_pretrained(out)
    generation.save_pretrained(out)
    tokenizer.save_pretrained(out)
    save_spec(out, replace(spec, options={**spec.options, **adapters.base_options(adapted.base)}))
    return agreement


def _merge(adapted: Adapted, spec: ModelSpec) -> tuple[Any, float, str]:
    """Return the merged model, the share of tokens that it predicts alike, and what is wrong with it, if anything.

    The model is None if memory runs out.
    """
    try:
        before = predict_tokens(adapted.model, adapted.batches)
        merged = adapters.merge(adapted.model, spec.dtype)
        agreement = float((predict_tokens(merged, adapted.batches) == before).float().mean())
    except Exception as error:
        if not ran_out_of_memory(error):
            raise
        return None, 1.0, "memory ran out while its adapter was merged"
    if agreement >= adapted.lora.min_merge_agreement:
        return merged, agreement, ""
    return merged, agreement, f"merged, it predicts {1 - agreement:.1%} of the tokens of dev otherwise than before"


@torch.inference_mode()
def predict_tokens(model: Any, batches: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    """Return the most probable token at every position of the batches that has a label, as one row."""
    model.eval()
    tokens = []
    for batch in batches:
        predicted = model(**batch).logits.argmax(-1)
        tokens.append(predicted[batch["labels"] != IGNORED].cpu())
    return torch.cat(tokens)
