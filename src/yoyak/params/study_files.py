"""Reading studies/<name>.yaml, with the same errors as params.yaml, and setting values of params.yaml by dotted key."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from yoyak.errors import UserError, nearest
from yoyak.params.load import validate
from yoyak.params.overrides import read_yaml
from yoyak.params.schema import Params
from yoyak.params.studies import KINDS, FloatDimension, Searched, Study

NAMED = (("members",), ("tokenizers",), ("ensemble", "strategies"), ("ensemble", "models"))
"""Sections whose keys are names that params.yaml chooses."""


def study_file(name: str, folder: Path = Path("studies")) -> Path:
    """Return the file of a study; UserError with the nearest name if there is none."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = [file.stem for file in folder.glob("*.yaml") if file.name != "dvc.yaml"]
        raise UserError(f"{folder}/ has no study '{name}'{nearest(name, known)}.")
    return path


def load_study(path: Path, tree: Mapping[str, Any]) -> Study:
    """Return a study whose values are all valid ones of params.yaml, which is ``tree``.

    Raises UserError with one sentence for the first problem.
    """
    study = parse_study(read_yaml(path), str(path))
    if isinstance(study, Searched):
        for key, dimension in study.dimensions.items():
            for value in dimension.corners():
                check_value(tree, key, value, f"{path}: dimensions")
            if isinstance(dimension, FloatDimension) and _takes_whole_numbers(tree, key, dimension):
                raise UserError(f"{path}: dimensions.{key} is a whole number: use type: int.")
    return study


def parse_study(values: Mapping[str, Any], where: str) -> Study:
    """Return the values of a file as a study of its kind."""
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in KINDS:
        hint = nearest(kind, KINDS) if isinstance(kind, str) else ""
        raise UserError(f"{where}: kind must be one of {', '.join(sorted(KINDS))}{hint}.")
    schema: type[Study] = resolve_name(KINDS[kind]).schema
    try:
        return TypeAdapter(schema).validate_python(dict(values))
    except ValidationError as error:
        raise UserError(f"{where}: {_describe(error, schema)}.") from error


def check_value(tree: Mapping[str, Any], key: str, value: Any, where: str) -> None:
    """Raise UserError if params.yaml cannot have this value at a dotted key."""
    _check_names(tree, key, where)
    try:
        apply_values(tree, {key: value}, where)
    except UserError as error:
        # What holds for several keys together is only known in a trial, which sets them all.
        together = isinstance(error.__cause__, ValidationError) and all(
            problem["type"] == "value_error" for problem in error.__cause__.errors()
        )
        if not together:
            raise


def apply_values(tree: Mapping[str, Any], values: Mapping[str, Any], where: str) -> Params:
    """Return the params with these values at their dotted keys; UserError if they are not valid."""
    return validate(set_values(tree, values), where)


def set_values(tree: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the tree of params.yaml with these values at their dotted keys."""
    changed = copy.deepcopy(dict(tree))
    for key, value in values.items():
        node: Any = changed
        *parents, last = key.split(".")
        for part in parents:
            below = node.get(part)
            # A copy, since members may share it by an anchor of YAML.
            node[part] = dict(below) if isinstance(below, dict) else {}
            node = node[part]
        node[last] = copy.deepcopy(value)
    return changed


def _takes_whole_numbers(tree: Mapping[str, Any], key: str, dimension: FloatDimension) -> bool:
    """Return whether a value between the ends is refused because it has a fraction; the ends may be whole by chance."""
    between = min(dimension.low + 0.5, (dimension.low + dimension.high) / 2)
    try:
        apply_values(tree, {key: between}, "")
    except UserError as error:
        cause = error.__cause__
        return isinstance(cause, ValidationError) and any(each["type"].startswith("int_") for each in cause.errors())
    return False


def _check_names(tree: Mapping[str, Any], key: str, where: str) -> None:
    parts = key.split(".")
    for section in NAMED:
        if tuple(parts[: len(section)]) == section and len(parts) > len(section):
            node: Any = tree
            for part in section:
                node = (node or {}).get(part)
            name = parts[len(section)]
            if name not in (node or {}):
                raise UserError(f"{where}: {'.'.join(section)} has no '{name}'{nearest(name, node or {})}.")


def _describe(error: ValidationError, schema: type[BaseModel]) -> str:
    """Return the most telling problem as a part of a sentence: an unknown key before a missing one."""
    problems = error.errors(include_url=False)
    first = next((problem for problem in problems if problem["type"] == "extra_forbidden"), problems[0])
    # The tag of a union is no key of the file.
    path = [str(part) for part in first["loc"] if part not in ("float", "int", "categorical")]
    if first["type"] == "extra_forbidden":
        known = _keys_at(schema, [str(part) for part in first["loc"][:-1]])
        parent = ".".join(path[:-1]) or "the top level"
        return f"{parent} has no key '{path[-1]}'{nearest(path[-1], known)}"
    message = first["msg"].removeprefix("Value error, ")
    text = message[:1].lower() + message[1:]
    suffix = "" if first["type"] in ("missing", "value_error") else f", not {first['input']!r}"
    return f"{'.'.join(path)}: {text}{suffix}" if path else f"{text}{suffix}"


def _keys_at(schema: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys that are allowed at a path of a validation error, in which a union's tag follows its key."""
    from yoyak.params import studies

    if not path:
        return sorted(schema.model_fields)
    if path[0] == "dimensions":
        kinds: dict[str, type[BaseModel]] = {"float": studies.FloatDimension, "int": studies.IntDimension}
        return sorted(kinds.get(path[-1], studies.CategoricalDimension).model_fields)
    field = schema.model_fields.get(path[0])
    return sorted(getattr(field.annotation if field else None, "model_fields", {}))
