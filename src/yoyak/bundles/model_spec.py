"""Reading yoyak.json of a bundle, or deriving it from the bundle's other files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from yoyak.bundles.json_files import describe_error, read_json_object
from yoyak.errors import UserError, nearest
from yoyak.models import catalog
from yoyak.models.families import all_families
from yoyak.models.families.base import TrainedFamily
from yoyak.models.spec import SPEC_FILE, ModelSpec
from yoyak.models.window import find_positions
from yoyak.params import Generation
from yoyak.params.base import Name, Section
from yoyak.params.members import InputStep, Windows


class _Spec(Section):
    """What yoyak.json may hold."""

    member: Name
    family: str
    prefix: str
    separator: str
    max_input_tokens: int = Field(gt=0)
    truncate: Literal["head", "tail", "both"] = "head"
    windows: Windows | None = None
    preprocessing: tuple[InputStep, ...] = ()
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    generation: Generation
    options: dict[str, str | bool] = Field(default={})

    @model_validator(mode="after")
    def _has_options_of_its_family(self) -> _Spec:
        for name in self.options:
            if name not in (known := _families()[self.family].option_names):
                raise ValueError(f"options: {self.family} has no '{name}'{nearest(name, known)}")
        return self

    @field_validator("family")
    @classmethod
    def _has_weights(cls, name: str) -> str:
        if name not in _families():
            raise ValueError(f"must be one of {', '.join(_families())}")
        return name


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
    own = own if isinstance(own, dict) else {}
    families = _families()
    family = families.get(str(own.get("family") or _detect_family(config)))
    if family is None:
        raise UserError(
            f"{where} has no {SPEC_FILE}, and its config.json does not say what kind of model it is: "
            f"add `family: {' or '.join(families)}` to its config.yaml."
        )
    # Older bundles have keys that only another family knows.
    keys = {
        "prefix",
        "separator",
        "max_input_tokens",
        "max_target_tokens",
        "truncate",
        "windows",
        "preprocessing",
    } & family.member_class.model_fields.keys()
    given = {key: own[key] for key in keys if key in own}
    values = {"family": family.name, "checkpoint": ".", "learning_rate": 1, **given}
    spec = family.make_spec(str(name), family.member_class.model_validate(values))
    own = params.get("generation")
    overrides = {key: own[key] for key in Generation.model_fields if key in own} if isinstance(own, dict) else {}
    generation = Generation.model_validate({**spec.generation.model_dump(), **overrides})
    value = {**asdict(spec), "generation": generation}
    del value["options"]  # What makes them, an adapter or a chat template, is not known.
    del value["max_samples"]  # A model of its own summarizes all dialogues.
    positions = find_positions(config)
    if "max_input_tokens" not in given and isinstance(positions, int):
        longest = family.longest_input(positions, generation.max_new_tokens)
        value["max_input_tokens"] = max(1, min(spec.max_input_tokens, longest))
    return value


def _families() -> dict[str, TrainedFamily]:
    return {family.name: family for family in all_families() if isinstance(family, TrainedFamily)}


def _detect_family(config: Mapping[str, Any]) -> str | None:
    """Return the family of a config.json, by what it says or by the checkpoint that it names."""
    for family in _families().values():
        if family.matches(config):
            return family.name
    source = str(config.get("_name_or_path") or "")
    entries = (entry for name, entry in catalog.entries().items() if source and source in (name, entry.checkpoint))
    return next((entry.family for entry in entries), None)
