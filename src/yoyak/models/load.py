"""Building and loading models of any family."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, GenerationConfig, PretrainedConfig, PreTrainedTokenizerBase

from yoyak.errors import UserError, first_line, nearest
from yoyak.models import adapters, unsloth
from yoyak.models.checkpoints import Source, open_source, weights_digest
from yoyak.models.families import all_families, family_of
from yoyak.models.families.base import TrainedFamily
from yoyak.models.positions import start_as_sinusoids
from yoyak.models.precision import find_device, find_hardware, loading_dtype
from yoyak.models.spec import load_spec
from yoyak.params.adapters import Lora, Quantization
from yoyak.params.members import TrainedMember

_LOG = logging.getLogger(__name__)


def read_config(name: str, member: TrainedMember, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    """Return the config of a member's model, without loading any weight.

    Raises UserError as `build_model` does.
    """
    if member.checkpoint is None:
        config = _new_config(name, member, tokenizer)
    else:
        config = _read_config(name, member, open_source(str(member.checkpoint), member.revision))
    family_of(member).check_config(f"members.{name}", member, config)
    if member.adapter and member.adapter.unsloth:
        unsloth.check(f"members.{name}", config.model_type, find_device().type)
    return config


def build_model(name: str, member: TrainedMember, tokenizer: PreTrainedTokenizerBase, dtype: str = "float32") -> Any:
    """Return the member's model, from its checkpoint or a new one from its config, with an embedding for every token.

    Weights that are to be trained are fp32. Under an adapter they have ``dtype``, or 4 bits for computing in ``dtype``.

    Raises UserError if the checkpoint cannot be found or belongs to another family, or the config is invalid.
    """
    if member.checkpoint is None:
        config = _new_config(name, member, tokenizer)
        try:
            model = family_of(member).auto_class().from_config(config)
            start_as_sinusoids(model)
        except Exception as error:  # Each architecture rejects invalid sizes in its own way.
            raise _config_error(name, config.model_type, error) from error
    else:
        model = _from_checkpoint(name, member, dtype)
        if len(tokenizer) > model.get_input_embeddings().num_embeddings:
            model.resize_token_embeddings(len(tokenizer))
    _set_special_tokens(model, tokenizer)
    return model if member.adapter else model.float()


def load_trained(folder: Path, family: TrainedFamily, dtype: torch.dtype | None = None) -> Any:
    """Load a model saved by `yoyak train`, in what it was trained to compute with unless a dtype is given.

    An adapter that was saved apart is attached to its checkpoint.

    Raises UserError if it cannot be loaded or lacks weights, which transformers would initialize randomly.
    """
    spec = load_spec(folder)
    dtype = dtype or loading_dtype(spec.dtype, find_hardware())
    if adapters.OPTION in spec.options:
        return _load_apart(folder, family, adapters.Base(**spec.options[adapters.OPTION]), dtype).get_base_model()
    try:
        model, loading = family.auto_class().from_pretrained(
            folder, use_safetensors=True, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except Exception as error:  # Each kind of damage raises a different class, without a common base.
        raise UserError(f"{folder} cannot be loaded as a {family.name} model: {first_line(error)}") from error
    missing = sorted(loading["missing_keys"])
    if missing:
        raise UserError(f"{folder} lacks {len(missing)} of the model's weights, such as {missing[0]}: train it again.")
    return model


def load_plain(folder: Path, family: TrainedFamily) -> Any:
    """Load a model saved by `yoyak train` in fp32, with an adapter that was saved apart merged into its weights."""
    options = load_spec(folder).options
    if adapters.OPTION not in options:
        return load_trained(folder, family, torch.float32)
    base = adapters.Base(**options[adapters.OPTION])
    return adapters.merge(_load_apart(folder, family, base, torch.float32), "float32").float()


def _load_apart(folder: Path, family: TrainedFamily, base: adapters.Base, dtype: torch.dtype) -> Any:
    """Return a PeftModel of the adapter in a folder."""
    quantization = None if base.quantization is None else Quantization(**base.quantization)
    lora = Lora(quantization=quantization)
    try:
        source = open_source(base.checkpoint, base.revision)
        if base.weights not in (None, weights_digest(source)):
            raise UserError(f"{base.checkpoint} holds other weights now")
        config = AutoConfig.from_pretrained(
            source.weights, revision=source.revision, trust_remote_code=False, **base.config
        )
        model = family.auto_class().from_pretrained(
            source.weights,
            config=config,
            revision=source.revision,
            use_safetensors=True,
            trust_remote_code=False,
            **_loading_options(lora, str(dtype).removeprefix("torch.")),
        )
    except Exception as error:
        raise UserError(
            f"{folder} is an adapter of {base.identity}, and that could not be loaded ({first_line(error)}): make it "
            f"available, or train with adapter.merge: true."
        ) from error
    adapters.keep_layout(model)
    if base.embeddings > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(base.embeddings)
    generation = GenerationConfig.from_pretrained(folder)
    model.generation_config = generation
    model.config.pad_token_id, model.config.eos_token_id = generation.pad_token_id, generation.eos_token_id
    return adapters.load_adapter(model, folder)


def _loading_options(adapter: Lora | None, dtype: str) -> dict[str, Any]:
    """Return the arguments of ``from_pretrained`` that decide how the weights are held."""
    if adapter is None:
        return {"dtype": torch.float32}
    if adapter.quantization is None:
        return {"dtype": getattr(torch, dtype)}
    return {
        "dtype": getattr(torch, dtype),
        "quantization_config": adapters.quantization_config(adapter.quantization, dtype),
        "device_map": {"": _current_device()},
    }


def _current_device() -> torch.device:
    device = find_device()
    # Each of several processes has a GPU of its own.
    return torch.device("cuda", torch.cuda.current_device()) if device.type == "cuda" else device


def _new_config(name: str, member: TrainedMember, tokenizer: PreTrainedTokenizerBase) -> PretrainedConfig:
    model_type = member.config["model_type"]
    if model_type not in CONFIG_MAPPING:
        hint = nearest(str(model_type), CONFIG_MAPPING.keys())
        raise UserError(f"members.{name}.config.model_type: transformers has no '{model_type}'{hint}.")
    values = {key: value for key, value in member.config.items() if key != "model_type"}
    default = AutoConfig.for_model(model_type)
    _check_keys(name, default, values)
    _check_family(name, member, default)
    tokens = {
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **family_of(member).start_tokens(model_type, tokenizer),
    }
    try:
        config = AutoConfig.for_model(model_type, **{"vocab_size": len(tokenizer), **tokens, **values})
    except Exception as error:
        raise _config_error(name, model_type, error) from error
    # BART's default would force the EOS id of its own tokenizer.
    config.forced_eos_token_id = None
    return config


def _config_error(name: str, model_type: str, error: Exception) -> UserError:
    reason = f"{type(error).__name__}: {first_line(error)}"
    return UserError(
        f"members.{name}.config does not describe a valid {model_type} ({reason.rstrip('.')}): change its values."
    )


def _check_keys(name: str, config: PretrainedConfig, keys: Iterable[str]) -> None:
    valid_keys = {*config.to_dict(), *config.attribute_map}
    for key in keys:
        if key not in valid_keys:
            raise UserError(f"members.{name}.config: {config.model_type} has no '{key}'{nearest(key, valid_keys)}.")


def _read_config(name: str, member: TrainedMember, source: Source) -> PretrainedConfig:
    where = f"members.{name}.checkpoint '{member.checkpoint}'"
    try:
        config = AutoConfig.from_pretrained(
            source.weights, revision=source.revision, trust_remote_code=False, **member.config
        )
    except (OSError, ValueError) as error:
        local = Path(source.weights).is_dir()
        problem = "has no usable config.json" if local else "is not a local folder and was not found on the Hub"
        raise UserError(f"{where} {problem}: {first_line(error)}") from error
    _check_family(name, member, config)
    _check_keys(name, config, member.config)
    if source.commit:
        config._commit_hash = source.commit
    return config


def _from_checkpoint(name: str, member: TrainedMember, dtype: str) -> Any:
    source = open_source(str(member.checkpoint), member.revision)
    config = _read_config(name, member, source)
    where = f"members.{name}.checkpoint '{member.checkpoint}'"
    if member.adapter and member.adapter.unsloth:
        return _load_with_unsloth(where, member, source, dtype)
    try:
        model, loading = (
            family_of(member)
            .auto_class()
            .from_pretrained(
                source.weights,
                config=config,
                revision=source.revision,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                **_loading_options(member.adapter, dtype),
            )
        )
    except Exception as error:
        raise UserError(f"{where} has no weights that match its config: {first_line(error)}") from error
    adapters.keep_layout(model)
    missing = sorted(loading["missing_keys"])
    if missing:
        _LOG.warning("%s lacks %d weights, which are initialized randomly: %s …", where, len(missing), missing[0])
    return model


def _load_with_unsloth(where: str, member: TrainedMember, source: Source, dtype: str) -> Any:
    try:
        return unsloth.load(
            source,
            dtype=dtype,
            four_bits=member.adapter is not None and member.adapter.quantization is not None,
            max_tokens=member.max_input_tokens + member.max_target_tokens,
            device=_current_device(),
        )
    except Exception as error:  # It refuses in as many ways as the libraries below it.
        raise UserError(f"{where} could not be loaded with unsloth: {first_line(error)}") from error


def _check_family(name: str, member: TrainedMember, config: PretrainedConfig) -> None:
    values = config.to_dict()
    if family_of(member).matches(values):
        return
    families = [
        family.name for family in all_families() if isinstance(family, TrainedFamily) and family.matches(values)
    ]
    hint = f": write family: {' or '.join(families)}" if families else ""
    raise UserError(f"members.{name}.family is '{member.family}', but {config.model_type} is not of that family{hint}.")


def _set_special_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> None:
    """Make the model use the tokenizer's padding and EOS tokens in training and generation."""
    for config in (model.config, model.generation_config):
        config.pad_token_id = tokenizer.pad_token_id
        config.eos_token_id = tokenizer.eos_token_id
    if model.config.is_encoder_decoder:
        # Training reads it from the config, generation from the generation config.
        model.generation_config.decoder_start_token_id = model.config.decoder_start_token_id
