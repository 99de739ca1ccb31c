"""Which keys of a configuration are read from a ZIP: those that its architecture has, and no others.

transformers turns every key of a configuration into an attribute, and some make it run code that comes with the
weights or from the Hub: ``auto_map``, ``_attn_implementation_internal``, ``quantization_config`` where ``kernels`` is
installed. New ones come with new versions. So keys are not forbidden by name, but allowed by list.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from yoyak.bundles.json_files import read_json_object
from yoyak.errors import UserError, nearest
from yoyak.files import write_json

CODE_KEYS = frozenset({"auto_map", "attn_implementation", "custom_generate", "quantization_config"})
"""Keys by which code is found, dropped at any depth, even if an architecture should have them."""
TOKENIZER_KEYS = frozenset(
    {
        "add_bos_token",
        "add_eos_token",
        "add_prefix_space",
        "added_tokens_decoder",
        "chat_template",
        "clean_up_tokenization_spaces",
        "extra_special_tokens",
        "model_input_names",
        "model_max_length",
        "padding_side",
        "split_special_tokens",
        "tokenizer_class",
        "truncation_side",
    }
)
"""Keys that any tokenizer may have besides its special tokens."""


def keep_known_keys(path: Path, where: str) -> None:
    """Remove from a configuration, if it is one that transformers reads, all keys that are not on its list.

    ``where`` names the file in errors. Raises UserError for an architecture that transformers itself does not have.
    """
    select = _SELECT.get(path.name)
    if select is None:
        return
    value = read_json_object(path, where)
    kept = json.loads(json.dumps(select(value, where)), object_hook=_without_code_keys)
    if kept == value:
        return
    try:
        write_json(path, kept)
    except ValueError as error:
        raise UserError(f"{where} has a number that is not finite: create the bundle again.") from error


def _without_code_keys(value: dict[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key not in CODE_KEYS}


def _select_config(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what is known of a config.json, or of one inside of it."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    )

    model_type = value.get("model_type")
    writing = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, *MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES}
    if not isinstance(model_type, str) or model_type not in writing or model_type not in CONFIG_MAPPING:
        name = ascii(model_type)[:80]
        hint = nearest(model_type, writing) if isinstance(model_type, str) else ""
        raise UserError(
            f"{where}: model_type is {name}, but must be an architecture of transformers that writes text, seq2seq or "
            f"causal{hint}; code of its own is not run."
        )
    return _select_keys(CONFIG_MAPPING[model_type], value, where)


def _select_keys(config_class: Any, value: Mapping[str, Any], where: str) -> dict[str, Any]:
    from transformers import AutoConfig

    kept: dict[str, Any] = {}
    for key in value.keys() & _config_keys(config_class):
        inner_class, inner = getattr(config_class, "sub_configs", {}).get(key), value[key]
        if inner_class is None or not isinstance(inner, dict):
            kept[key] = inner
        elif inner_class is AutoConfig:
            kept[key] = _select_config(inner, f"{where}: {key}")
        else:
            kept[key] = _select_keys(inner_class, inner, where)
    return {key: kept[key] for key in value if key in kept}


@cache
def _config_keys(config_class: Any) -> frozenset[str]:
    """Return the keys of an architecture: its arguments and those of its bases, its defaults, and their other names."""
    from transformers import PretrainedConfig

    keys = {"dtype", "model_type", "torch_dtype", "transformers_version", *PretrainedConfig().to_dict()}
    keys |= _argument_names(config_class)
    keys |= getattr(config_class, "sub_configs", {}).keys() | config_class.attribute_map.keys()
    try:
        keys |= config_class().to_dict().keys()
    except Exception:  # Some have no defaults.
        return _public(keys)
    return _public(keys)


def _select_generation(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    from transformers import GenerationConfig

    # The private one is a flag: transformers has derived the values, nobody has set them.
    known = _public({"transformers_version", *GenerationConfig().to_dict()}) | {"_from_model_config"}
    return {key: inner for key, inner in value.items() if key in known}


def _select_tokenizer(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what is known of a tokenizer_config.json, without what would name files elsewhere."""
    known = TOKENIZER_KEYS | _special_tokens()
    files = {"name_or_path", "sp_model_kwargs", "tokenizer_object"}
    for tokenizer_class in _tokenizer_classes(str(value.get("tokenizer_class", ""))):
        known |= _argument_names(tokenizer_class)
        files |= tokenizer_class.vocab_files_names.keys()
    known = _public({key for key in known if key not in files and not key.endswith("_file")})
    return {key: inner for key, inner in value.items() if key in known}


def _select_special_tokens(value: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the special tokens only: transformers passes all keys of this file on to the tokenizer, paths too."""
    return {key: inner for key, inner in value.items() if key in _special_tokens()}


def _tokenizer_classes(name: str) -> list[Any]:
    """Return the classes of transformers that load a tokenizer of this class, with and without its Rust library."""
    from transformers import PreTrainedTokenizerBase
    from transformers.models.auto.tokenization_auto import tokenizer_class_from_name

    slow = name.removesuffix("Fast")
    found = [tokenizer_class_from_name(candidate) for candidate in (slow, f"{slow}Fast") if candidate.isidentifier()]
    return [one for one in found if isinstance(one, type) and issubclass(one, PreTrainedTokenizerBase)]


def _special_tokens() -> frozenset[str]:
    from transformers import PreTrainedTokenizerBase

    return frozenset(PreTrainedTokenizerBase.SPECIAL_TOKENS_ATTRIBUTES)


def _argument_names(loaded_class: type) -> set[str]:
    """Return the names of the arguments with which a class, or one of its bases, is made from a configuration."""
    constructors = [vars(base)["__init__"] for base in loaded_class.__mro__[:-1] if "__init__" in vars(base)]
    parameters = [one for made in constructors for one in inspect.signature(made).parameters.values()]
    return {one.name for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)} - {"self"}


def _public(keys: set[str]) -> frozenset[str]:
    return frozenset(key for key in keys if not key.startswith("_")) - CODE_KEYS


_SELECT: Mapping[str, Callable[[Mapping[str, Any], str], dict[str, Any]]] = {
    "config.json": _select_config,
    "generation_config.json": _select_generation,
    "special_tokens_map.json": _select_special_tokens,
    "tokenizer_config.json": _select_tokenizer,
}
