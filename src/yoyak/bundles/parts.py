"""The small files of a bundle: what they hold, and reading them when anyone may have written them."""

from __future__ import annotations

import json
import math
import posixpath
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from yoyak.errors import UserError, first_line
from yoyak.files import write_json
from yoyak.models import catalog
from yoyak.models.spec import SPEC_FILE, ModelSpec
from yoyak.params import Generation, Member
from yoyak.params.base import Name, Section
from yoyak.tracking.stage_run import flatten, mlflow_key

IMPORTED = "imported"
CODE = ("auto_map", "attn_implementation", "_attn_implementation")
"""Keys by which transformers finds code to load: Python beside the weights, or on the Hub."""
MAX_PARAMS = 1 << 18
"""Bytes of config.yaml, which is read slowly."""
MAX_DEPTH = 50

_TEXT = ("checkpoint", "revision", "tokenizer", "prefix", "separator")
"""Values of a member that are text, whatever they look like."""

_Text = Annotated[str, Field(max_length=500)]
_Texts = Annotated[dict[_Text, _Text], Field(max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, protected_namespaces=())


class Lineage(_Part):
    """What the training of a model was made from, wherever that was."""

    run_id: _Text = ""
    git_commit: _Text = ""
    git_dirty: bool | None = None
    inputs: _Texts = {}
    """DVC's md5 of each input, by path."""
    versions: _Texts = {}
    device: _Text = ""
    seed: int | None = None

    @classmethod
    def of(cls, run_id: str, tags: Mapping[str, str]) -> Lineage:
        """Return what the tags of a run say: of the training itself, where that was imported from elsewhere."""
        if tags.get(IMPORTED) == "true":
            start = f"{IMPORTED}."
            tags = {key.removeprefix(start): value for key, value in tags.items() if key.startswith(start)}
            run_id = tags.get("run_id", "")
        dirty, seed = tags.get("git.dirty"), tags.get("seed", "")
        return cls(
            run_id=run_id,
            git_commit=tags.get("git.commit", ""),
            git_dirty=None if dirty is None else dirty == "true",
            inputs=_below("input.", tags),
            versions=_below("version.", tags),
            device=tags.get("device", ""),
            seed=int(seed) if seed.isdigit() else None,
        )

    def tags(self) -> dict[str, str]:
        """Return the tags of an imported run, which `of` reads again; keys that MLflow refuses are left out."""
        found = {
            "run_id": self.run_id,
            "git.commit": self.git_commit,
            "git.dirty": "" if self.git_dirty is None else str(self.git_dirty).lower(),
            **{f"input.{path}": md5 for path, md5 in self.inputs.items()},
            **{f"version.{package}": version for package, version in self.versions.items()},
            "device": self.device,
            "seed": "" if self.seed is None else str(self.seed),
        }
        return {IMPORTED: "true", **{f"{IMPORTED}.{key}": value for key, value in found.items() if value and fits(key)}}


class Metadata(_Part):
    """metadata.json: which model it was in the MLflow that it comes from."""

    member: Name | None = None
    run_id: _Text | None = None
    model_id: _Text | None = None
    name: _Text | None = None
    """Registered model, where the bundle was made of a version."""
    version: int | None = None
    metrics: Annotated[dict[_Text, float], Field(max_length=1000)] = {}
    """The training's, and as ``score.…`` those that the version was registered with."""
    lineage: Lineage = Lineage()


class _Spec(Section):
    """What yoyak.json may hold."""

    member: Name
    family: str = Field(pattern="^(seq2seq|causal)$")
    prefix: str
    separator: str
    max_input_tokens: int = Field(gt=0)
    generation: Generation


def fits(key: str) -> bool:
    """Return whether MLflow takes a name as it is."""
    return len(key) <= 200 and mlflow_key(key) == key and posixpath.normpath(key) == key and not key.startswith("..")


def finite(values: Mapping[str, Any]) -> dict[str, float]:
    """Return those values that are finite numbers."""
    return {key: float(value) for key, value in values.items() if math.isfinite(float(value))}


def nested(flat: Mapping[str, str]) -> dict[str, Any]:
    """Return the params of a run, whose names are dotted and whose values are text, as they were in params.yaml."""
    tree: dict[str, Any] = {}
    for key, text in sorted(flat.items()):
        *parents, last = key.split(".")
        place: Any = tree
        for parent in parents:
            place = place.setdefault(parent, {}) if isinstance(place, dict) else None
        if isinstance(place, dict):
            plain = len(parents) == 2 and parents[0] == "members" and last in _TEXT and text != "null"
            place[last] = text if plain else _value(text)
        else:
            tree[key] = text
    return tree


def loggable(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the params that MLflow takes; config.yaml, which has them all, is kept with the run."""
    flat = flatten(params)
    return {key: text for key, text in flat.items() if fits(key) and len(text) <= 6000}


def read_object(path: Path, where: str) -> dict[str, Any]:
    """Read a JSON object; UserError where the file holds none. ``where`` is what a person calls the file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where} is no JSON ({first_line(error)}): make the bundle again.") from error
    if not isinstance(value, dict):
        raise UserError(f"{where} holds no JSON object: make the bundle again.")
    return value


def read_params(path: Path, where: str) -> dict[str, Any]:
    """Read config.yaml, an empty mapping where there is none."""
    from ruamel.yaml import YAML

    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        value: Any = YAML(typ="safe", pure=True).load(text) if _is_plain(text) else []
    except Exception as error:  # ruamel.yaml has errors of its own, and raises those of Python for odd values.
        raise UserError(f"{where} is no YAML ({first_line(error)}): make the bundle again.") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a mapping of params, without aliases and not deeper than {MAX_DEPTH}.")
    return value


def _is_plain(text: str) -> bool:
    """Return whether YAML is safe to build: a few lines of aliases to aliases become gigabytes, depth becomes hours."""
    from ruamel.yaml import YAML, events

    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, events.CollectionStartEvent) - isinstance(event, events.CollectionEndEvent)
        if depth > MAX_DEPTH or isinstance(event, events.AliasEvent):
            return False
    return True


def read_metadata(path: Path, where: str) -> Metadata:
    """Read metadata.json, an empty one where there is none."""
    value = read_object(path, where) if path.is_file() else {}
    try:
        return Metadata.model_validate(value)
    except ValidationError as error:
        raise UserError(f"{where}: {_complaint(error)}.") from error


def remove_code(path: Path, where: str) -> None:
    """Take out of a configuration what would make transformers look for code, or for files outside of the folder."""
    value = read_object(path, where)
    kept = {key: inner for key, inner in value.items() if not (_is_tokenizer(path) and key.endswith("_file"))}
    kept = json.loads(json.dumps(kept), object_hook=_codeless)
    if kept != value:
        write_json(path, kept)


def read_spec(folder: Path, params: Mapping[str, Any], where: str) -> ModelSpec:
    """Return how the model of a folder is used: by yoyak.json, else as far as config.yaml and config.json tell.

    Raises UserError where yoyak.json is wrong, or is missing and the others do not say what kind of model it is.
    """
    path = folder / SPEC_FILE
    try:
        found = read_object(path, f"{where}: {SPEC_FILE}") if path.is_file() else _derived(folder, params, where)
        return ModelSpec(**dict(_Spec.model_validate(found)))
    except ValidationError as error:
        source = SPEC_FILE if path.is_file() else "config.yaml"
        raise UserError(f"{where}: {source}: {_complaint(error)}.") from error


def _derived(folder: Path, params: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Put together what yoyak.json would hold, with the defaults of params.yaml for what nothing tells."""
    config = read_object(folder / "config.json", f"{where}: config.json")
    members = params.get("members")
    if isinstance(members, dict) and len(members) == 1:
        [(name, own)] = members.items()
    else:
        name, own = config.get("model_type") or "model", params
    keys = ("family", "prefix", "separator", "max_input_tokens", "max_target_tokens")
    given = {key: own[key] for key in keys if key in own} if isinstance(own, dict) else {}
    family = given.pop("family", None) or _family(config)
    if family is None:
        raise UserError(
            f"{where} has no {SPEC_FILE}, and its config.json does not say whether it is an encoder-decoder: "
            f"add `family: seq2seq` or `family: causal` to its config.yaml."
        )
    member = Member.model_validate({"family": family, "checkpoint": ".", "learning_rate": 1, **given})
    spec = ModelSpec.of(str(name), member)
    own = params.get("generation")
    writing = {key: own[key] for key in Generation.model_fields if key in own} if isinstance(own, dict) else {}
    generation = Generation.model_validate({**spec.generation.model_dump(), **writing})
    value = {**asdict(spec), "generation": generation}
    positions = config.get("max_position_embeddings") or config.get("n_positions")
    if "max_input_tokens" not in given and isinstance(positions, int):
        room = positions - (generation.max_new_tokens if family == "causal" else 0)
        value["max_input_tokens"] = max(1, min(spec.max_input_tokens, room))
    return value


def _family(config: Mapping[str, Any]) -> str | None:
    kinds = config.get("architectures")
    names = [str(kind) for kind in kinds] if isinstance(kinds, list) else []
    if config.get("is_encoder_decoder") is True:
        return "seq2seq"
    if any(name.endswith(("ForCausalLM", "LMHeadModel")) for name in names):
        return "causal"
    if any(name.endswith("ForConditionalGeneration") for name in names):
        return "seq2seq"
    source = str(config.get("_name_or_path") or "")
    known = (entry for name, entry in catalog.entries().items() if source and source in (name, entry["checkpoint"]))
    return next((entry["family"] for entry in known), None)


def _value(text: str) -> Any:
    """Return the value that `tracking_run.flatten` wrote as this text."""
    try:
        value = json.loads(text)
        return value if json.dumps(value, ensure_ascii=False) == text else text
    except (ValueError, RecursionError):
        return text


def _below(start: str, tags: Mapping[str, str]) -> dict[str, str]:
    return {key.removeprefix(start): value for key, value in tags.items() if key.startswith(start)}


def _is_tokenizer(path: Path) -> bool:
    return path.name.startswith("tokenizer")


def _codeless(value: dict[str, Any]) -> dict[str, Any]:
    return {key: inner for key, inner in value.items() if key not in CODE}


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    message = first["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, first['loc']))[:200] or 'it'}: {message[:1].lower()}{message[1:]}"
