"""Reading params.yaml, as a whole or as the params of one stage.

    p = params.load(TrainParams, key="bart")

Unknown keys raise errors that name the nearest key.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from yoyak.errors import UserError, nearest
from yoyak.params import overrides
from yoyak.params.base import Section
from yoyak.params.ensemble import OfCandidates, OfModels
from yoyak.params.members import FAMILIES
from yoyak.params.schema import Params
from yoyak.params.stages import paths

PARAMS_FILE = "params.yaml"
MAX_VALUE_CHARS = 60
"""Characters of a wrong value that an error quotes."""
MAPPINGS = ("dict_type", "model_type", "model_attributes_type")
"""Complaints of pydantic that something else stands where a mapping belongs."""
REMOVED_KEYS = {
    "evaluation_granularity": "the first of scoring.granularities chooses the best checkpoint now, so delete this key"
}
"""Removed keys of a member, and what to do about each."""

AnyParams = TypeVar("AnyParams", bound=Section)


def load(
    schema: type[AnyParams],
    path: str | os.PathLike[str] = PARAMS_FILE,
    *,
    key: str | None = None,
    env: Mapping[str, str] | None = None,
) -> AnyParams:
    """Return the effective params of a file: its values, the environment's overrides, the defaults.

    Args:
        schema: `Params` for the whole file, or the params class of a stage for its part of it.
        key: The member or strategy that the stage is run for, if it is run for one.
        env: The environment; by default the process's own.

    Raises:
        UserError: The file is missing or not YAML, a key is unknown or a value wrong, anywhere in the file; there is
            no member or strategy ``key``; or, inside a DVC stage, the environment overrides a value that the stage
            reads: dvc.lock would record a value that was not used.
    """
    env = os.environ if env is None else env
    tree, sources = overrides.read_with_overrides(path, env, Params)
    if "DVC_STAGE" in env:
        _refuse_overrides(sources, [dotted.format(key=key) for dotted in paths(schema).values()], path)
    return select(validate(tree, str(path), sources), schema, key, where=str(path))


def select(settings: Params, schema: type[AnyParams], key: str | None = None, where: str = PARAMS_FILE) -> AnyParams:
    """Return the part of the params that a stage reads; UserError if there is no member or strategy ``key``."""
    values = {field: _find_value(settings, dotted.format(key=key), where) for field, dotted in paths(schema).items()}
    return schema.model_validate(values)


def load_or_default() -> Params:
    """Return params.yaml of the current folder, or the defaults without members if there is none.

    For commands that also work outside a project, such as serving a model.
    """
    return load(Params) if Path(PARAMS_FILE).exists() else Params.model_construct()


def dump(settings: Section, key: str | None = None) -> dict[str, Any]:
    """Return a stage's params as plain values by their path in params.yaml, as a run logs them."""
    values = settings.model_dump(mode="json")
    return {dotted.format(key=key): values[field] for field, dotted in paths(type(settings)).items()}


def _refuse_overrides(
    sources: Mapping[tuple[str, ...], str], stage_paths: Iterable[str], path: str | os.PathLike[str]
) -> None:
    for key, variable in sources.items():
        dotted = ".".join(key)
        # Either may be a section that holds the other.
        if any(f"{dotted}.".startswith(f"{read}.") or f"{read}.".startswith(f"{dotted}.") for read in stage_paths):
            raise UserError(
                f"{variable} would change {dotted} without DVC knowing: unset it, and use "
                f"`dvc exp run -S {dotted}=…` or edit {path}."
            )


def _find_value(settings: Params, dotted: str, where: str) -> Any:
    """Return the value at a dotted path; UserError with the nearest name if it names no member or strategy."""
    value: Any = settings
    parts = dotted.split(".")
    for depth, part in enumerate(parts):
        if isinstance(value, BaseModel):
            value = getattr(value, part)
        elif part in value:
            value = value[part]
        else:
            raise UserError(f"{where}: {'.'.join(parts[:depth])} has no '{part}'{nearest(part, value)}.")
    return value


def validate(tree: dict[str, Any], where: str, sources: Mapping[tuple[str, ...], str] | None = None) -> Params:
    """Return the tree of a params file as typed objects; UserError with one sentence for the first problem.

    ``sources`` maps each overridden key to its environment variable.
    """
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise UserError(_describe_error(error, tree, where, sources or {})) from error


def _describe_error(
    error: ValidationError, tree: dict[str, Any], where: str, sources: Mapping[tuple[str, ...], str]
) -> str:
    """Turn pydantic's most informative error into a sentence.

    Unknown keys are reported before missing ones: often the unknown key is a misspelling of the missing one.
    """
    errors = error.errors(include_url=False)
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    if isinstance(first["input"], dict):
        # Where a word or a mapping is allowed and a mapping was given, report what is wrong with the mapping.
        first = next((entry for entry in errors if any("dict[" in str(part) for part in entry["loc"])), first)
    location = _key_path(first, tree)
    # The variable that holds the key, or a section around it.
    variables = (sources.get(tuple(location[:depth])) for depth in range(len(location), 0, -1))
    where = next((variable for variable in variables if variable), where)
    if first["type"].startswith("union_tag") and location[:1] == ["members"]:
        family = first["input"].get("family") if isinstance(first["input"], dict) else None
        hint = nearest(family, FAMILIES) if isinstance(family, str) else ""
        return f"{where}: {'.'.join(location)}.family must be one of {', '.join(FAMILIES)}{hint}."
    if first["type"].startswith("union_tag"):
        kinds = first["ctx"].get("expected_tags") or ", ".join(_kinds(location[1]))
        return f"{where}: {'.'.join(location)}.type must be one of {kinds}."
    if first["type"] == "extra_forbidden":
        parent = ".".join(location[:-1]) or "the top level"
        if location[-1] in REMOVED_KEYS and location[0] == "members":
            return f"{where}: {parent}.{location[-1]} no longer exists: {REMOVED_KEYS[location[-1]]}."
        valid_keys = overrides.keys_below(Params, location[:-1])
        if location[-1] in valid_keys:
            return f"{where}: {parent} has no key '{location[-1]}' where its {_kind_of(tree, location[:-1])}."
        return f"{where}: {parent} has no key '{location[-1]}'{nearest(location[-1], valid_keys)}."
    if location[-1:] == ["[key]"]:
        name = first["input"]
        return f"{where}: {'.'.join(location[:-2])} cannot hold the name {name!r}: use letters, digits, - and _."
    key = ".".join(location)
    message = first["msg"].removeprefix("Value error, ")
    message = "must hold keys and values" if first["type"] in MAPPINGS else message[:1].lower() + message[1:]
    value = "null" if first["input"] is None else repr(first["input"])
    value = value if len(value) <= MAX_VALUE_CHARS else f"{value[:MAX_VALUE_CHARS]}…"
    suffix = "" if first["type"] in ("missing", "value_error") else f", not {value}"
    return f"{where}: {key + ': ' if key else ''}{message}{suffix}."


def _key_path(error: ErrorDetails, tree: dict[str, Any]) -> list[str]:
    """Return the keys of the file that lead to the value that pydantic rejects; ``[key]`` is the name before it.

    pydantic puts more between them: the type of a strategy, the family of a member, the alternatives of a union.
    """
    *parents, last = error["loc"] or ("",)
    node: Any = tree
    path: list[str] = []
    for depth, part in enumerate(parents, 1):
        if _holds(node, part):
            node = node[part]
            path.append(str(part))
        elif last == "[key]" and depth == len(parents):
            path.append(str(part))  # A name that is not text, which pydantic writes as text.
    if last == "[key]" or error["type"] in ("missing", "extra_forbidden") or _holds(node, last):
        path.append(str(last))
    return path


def _holds(node: Any, part: str | int) -> bool:
    return part in node if isinstance(node, dict) else isinstance(node, list) and isinstance(part, int)


def _kind_of(tree: dict[str, Any], path: Sequence[str]) -> str:
    """Return what decides the keys of a member or a strategy, such as ``family is causal``."""
    node: Any = tree
    for part in path:
        node = node[part]
    key = "family" if "family" in node else "type"
    return f"{key} is {node[key]}"


def _kinds(section: str) -> list[str]:
    """Return the strategy types that a section of ensemble allows."""
    union = get_args(OfCandidates if section == "strategies" else OfModels)[0]
    return [repr(get_args(kind.model_fields["type"].annotation)[0]) for kind in get_args(union)]
