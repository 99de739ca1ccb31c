"""yoyak.json of a bundle, or what it would hold, as far as the bundle's other files tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from yoyak.bundles.json_files import describe_error, read_json_object
from yoyak.errors import UserError
from yoyak.models import catalog
from yoyak.models.spec import SPEC_FILE, ModelSpec
from yoyak.params import Generation, Member
from yoyak.params.base import Name, Section


class _Spec(Section):
    """What yoyak.json may hold."""

    member: Name
    family: str = Field(pattern="^(seq2seq|causal)$")
    prefix: str
    separator: str
    max_input_tokens: int = Field(gt=0)
    generation: Generation


def read_spec(folder: Path, params: Mapping[str, Any], where: str) -> ModelSpec:
    """Return how the model of a folder is used: by yoyak.json, else as far as config.yaml and config.json tell.

    Raises UserError where yoyak.json is wrong, or is missing and the others do not say what kind of model it is.
    """
    path = folder / SPEC_FILE
    try:
        if path.is_file():
            value = read_json_object(path, f"{where}: {SPEC_FILE}")
        else:
            value = _derive_spec(folder, params, where)
        return ModelSpec(**dict(_Spec.model_validate(value)))
    except ValidationError as error:
        source = SPEC_FILE if path.is_file() else "config.yaml"
        raise UserError(f"{where}: {source}: {describe_error(error)}.") from error


def _derive_spec(folder: Path, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what yoyak.json would hold, with the defaults of params.yaml for what the bundle does not say."""
    config = read_json_object(folder / "config.json", f"{where}: config.json")
    members = params.get("members")
    if isinstance(members, dict) and len(members) == 1:
        [(name, own)] = members.items()
    else:
        name, own = config.get("model_type") or "model", params
    keys = ("family", "prefix", "separator", "max_input_tokens", "max_target_tokens")
    given = {key: own[key] for key in keys if key in own} if isinstance(own, dict) else {}
    family = given.pop("family", None) or _detect_family(config)
    if family is None:
        raise UserError(
            f"{where} has no {SPEC_FILE}, and its config.json does not say whether it is an encoder-decoder: "
            f"add `family: seq2seq` or `family: causal` to its config.yaml."
        )
    member = Member.model_validate({"family": family, "checkpoint": ".", "learning_rate": 1, **given})
    spec = ModelSpec.of(str(name), member)
    own = params.get("generation")
    overrides = {key: own[key] for key in Generation.model_fields if key in own} if isinstance(own, dict) else {}
    generation = Generation.model_validate({**spec.generation.model_dump(), **overrides})
    value = {**asdict(spec), "generation": generation}
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if "max_input_tokens" not in given and isinstance(positions, int):
        available = positions - (generation.max_new_tokens if family == "causal" else 0)
        value["max_input_tokens"] = max(1, min(spec.max_input_tokens, available))
    return value


def _detect_family(config: Mapping[str, Any]) -> str | None:
    architectures = config.get("architectures")
    names = [str(name) for name in architectures] if isinstance(architectures, list) else []
    if config.get("is_encoder_decoder") is True:
        return "seq2seq"
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return "causal"
    if any(name.endswith("ForConditionalGeneration") for name in names):
        return "seq2seq"
    source = str(config.get("_name_or_path") or "")
    entries = (entry for name, entry in catalog.entries().items() if source and source in (name, entry["checkpoint"]))
    return next((entry["family"] for entry in entries), None)
