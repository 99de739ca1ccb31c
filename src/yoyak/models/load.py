"""Building and loading models by family, always in fp32, and the check that runs before anything expensive."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)

from yoyak.errors import UserError, first_line, nearest
from yoyak.models import catalog
from yoyak.params import Member

Family = Literal["seq2seq", "causal"]

_LOG = logging.getLogger(__name__)


def find_device() -> torch.device:
    """Return CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def build_model(name: str, member: Member, tokenizer: PreTrainedTokenizerBase) -> Any:
    """Return the member's model, from its checkpoint or new from its config, with room for every token.

    Raises UserError where the checkpoint cannot be found or is of the other family, or the config does not fit.
    """
    if member.checkpoint is None:
        config = _new_config(name, member, tokenizer)
        try:
            model = _model_class(member.family).from_config(config)
        except Exception as error:  # Each architecture has its own way to refuse a size.
            raise _no_model(name, config.model_type, error) from error
    else:
        model = _from_checkpoint(name, member)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))
    _set_special_tokens(model, tokenizer)
    return model.float()


def load_trained(folder: Path, family: Family) -> Any:
    """Load a model that `yoyak train` saved, in fp32 whatever dtype its files have.

    Raises UserError where it cannot be loaded, or lacks weights: transformers would fill these with random numbers.
    """
    try:
        model, found = _model_class(family).from_pretrained(
            folder, use_safetensors=True, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # Damaged weights have an error class of their own, and no common one.
        raise UserError(f"{folder} cannot be loaded as a {family} model: {first_line(error)}") from error
    missing = sorted(found["missing_keys"])
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} of the model's weights, such as {missing[0]}: make it again.")
    return model


def _model_class(family: Family) -> Any:
    return AutoModelForSeq2SeqLM if family == "seq2seq" else AutoModelForCausalLM


def _new_config(name: str, member: Member, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    kind = member.config["model_type"]
    if kind not in CONFIG_MAPPING:
        hint = nearest(str(kind), CONFIG_MAPPING.keys())
        raise UserError(f"members.{name}.config.model_type: transformers knows no '{kind}'{hint}.")
    values = {key: value for key, value in member.config.items() if key != "model_type"}
    default = AutoConfig.for_model(kind)
    _check_keys(name, default, values)
    tokens = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    if default.is_encoder_decoder:
        # The start tokens of the papers: T5 begins with padding, BART with the end mark.
        start = "pad_token_id" if kind in ("t5", "mt5", "umt5") else "eos_token_id"
        tokens["decoder_start_token_id"] = tokens[start]
    try:
        config = AutoConfig.for_model(kind, **{"vocab_size": len(tokenizer), **tokens, **values})
    except Exception as error:
        raise _no_model(name, kind, error) from error
    if default.is_encoder_decoder:
        config.forced_eos_token_id = None
    _check_family(name, member, config)
    return config


def _no_model(name: str, kind: str, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {first_line(error)}"
    return UserError(f"members.{name}.config makes no {kind} ({reason.rstrip('.')}): change its values.")


def _check_keys(name: str, config: PretrainedConfig, keys: Iterable[str]) -> None:
    known = {*config.to_dict(), *config.attribute_map}
    for key in keys:
        if key not in known:
            raise UserError(f"members.{name}.config: {config.model_type} has no '{key}'{nearest(key, known)}.")


def _from_checkpoint(name: str, member: Member) -> Any:
    source = catalog.checkpoint(str(member.checkpoint))
    where = f"members.{name}.checkpoint '{member.checkpoint}'"
    try:
        config = AutoConfig.from_pretrained(source, revision=member.revision, trust_remote_code=False, **member.config)
    except (OSError, ValueError) as error:
        fault = (
            "has no usable config.json" if Path(source).is_dir() else "is no folder here and was not found on the Hub"
        )
        raise UserError(f"{where} {fault}: {first_line(error)}") from error
    _check_family(name, member, config)
    _check_keys(name, config, member.config)
    try:
        model, found = _model_class(member.family).from_pretrained(
            source,
            config=config,
            revision=member.revision,
            use_safetensors=True,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except Exception as error:
        raise UserError(
            f"{where} has no safetensors weights that fit, and pickled ones are not read: {first_line(error)}"
        ) from error
    if found["missing_keys"]:
        missing = sorted(found["missing_keys"])
        _LOG.warning("%s lacks %d weights, which begin at random: %s …", where, len(missing), missing[0])
    return model


def _check_family(name: str, member: Member, config: PretrainedConfig) -> None:
    actual: Family = "seq2seq" if config.is_encoder_decoder else "causal"
    if actual != member.family:
        raise UserError(
            f"members.{name}.family is '{member.family}', but {config.model_type} is of the other kind: "
            f"write family: {actual}."
        )


def _set_special_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Let the model pad and end with the tokenizer's tokens, when training and when generating."""
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
    if model.config.is_encoder_decoder:
        model.generation_config.decoder_start_token_id = model.config.decoder_start_token_id
