"""Environment overrides of a params file, for runs outside DVC.

``YOYAK__MEMBERS__BART__LEARNING_RATE=1e-4`` sets one key, matched case-insensitively. ``LEARNING_RATE``, ``BATCH_SIZE``
and ``NUM_EPOCHS`` set that key for every member that has it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, get_args, get_origin

from pydantic import BaseModel

from yoyak.errors import UserError, first_line, nearest
from yoyak.params.members import FAMILIES

PREFIX = "YOYAK__"
MEMBER_VARIABLES = {"LEARNING_RATE": "learning_rate", "BATCH_SIZE": "batch_size", "NUM_EPOCHS": "num_epochs"}


def read_with_overrides(
    path: str | os.PathLike[str], env: Mapping[str, str], schema: type[BaseModel]
) -> tuple[dict[str, Any], dict[tuple[str, ...], str]]:
    """Return the tree of a params file with overrides applied, and the variable of each overridden key.

    Raises UserError for a variable that does not match a key, with the nearest one.
    """
    tree = read_yaml(path)
    sources: dict[tuple[str, ...], str] = {}
    for variable, key in MEMBER_VARIABLES.items():
        if variable in env:
            for name, member in (tree.get("members") or {}).items():
                if _lacks(member, key):
                    continue
                _override(tree, ("members", name, key), variable, env[variable], schema, sources)
    for variable in sorted(env):
        if variable.startswith(PREFIX):
            names = tuple(variable[len(PREFIX) :].split("__"))
            _override(tree, names, variable, env[variable], schema, sources)
    return tree, sources


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a YAML 1.2 file (as DVC does: 1e-4 is a number) whose top level is a mapping."""
    try:
        tree = _parse(Path(path).read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: run in the project's folder, or name the file.") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: name a file in it.") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}).") from error
    if not isinstance(tree, dict):
        raise UserError(f"{path} must be a mapping of keys to values at its top level.")
    return tree


def keys_below(schema: type[BaseModel], path: Sequence[str]) -> list[str]:
    """Return the keys that a schema allows below a path; none for a plain value or a free-form mapping."""
    kinds: list[Any] = [schema]
    for part in path:
        kinds = [inner for kind in kinds for inner in _models(_below(kind, part))]
    return sorted({key for kind in kinds for key in getattr(kind, "model_fields", ())})


def _below(kind: Any, part: str) -> Any:
    """Return the type of a key's value; in a free-form mapping all values have the same type."""
    if isinstance(kind, type):
        field = getattr(kind, "model_fields", {}).get(part)
        return field.annotation if field else None
    return get_args(kind)[1]


def _models(kind: Any) -> list[Any]:
    """Return the schemas, and the mappings of schemas, among the parts of a type."""
    if (isinstance(kind, type) and issubclass(kind, BaseModel)) or get_origin(kind) is dict:
        return [kind]
    return [model for inner in get_args(kind) for model in _models(inner)]


def _lacks(member: Any, key: str) -> bool:
    """Return whether the family of a member is known and has no such key."""
    family = str(member.get("family")) if isinstance(member, dict) else ""
    return family in FAMILIES and key not in resolve_name(FAMILIES[family]).member_class.model_fields


def _override(
    tree: dict[str, Any],
    names: tuple[str, ...],
    variable: str,
    text: str,
    schema: type[BaseModel],
    sources: dict[tuple[str, ...], str],
) -> None:
    node: Any = tree
    path: list[str] = []
    for name in names:
        if not isinstance(node, dict):
            raise UserError(f"{variable}: {'.'.join(path)} is a value and has no keys below it.")
        valid_keys = {*(key for key in node if isinstance(key, str)), *keys_below(schema, path)}
        match = next((key for key in valid_keys if key.casefold() == name.casefold()), None)
        if match is None:
            where = ".".join(path) or "params.yaml"
            raise UserError(f"{variable}: {where} has no key '{name.lower()}'{nearest(name.lower(), valid_keys)}.")
        path.append(match)
        if len(path) == len(names):
            node[match] = _parse(text, variable)
            sources[tuple(path)] = variable
        else:
            below = node.get(match, {})
            # A copy, since members may share it by an anchor of YAML.
            node[match] = dict(below) if isinstance(below, dict) else below
            node = node[match]


def _parse(text: str, where: str) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        # libyaml's part in C recurses until the process crashes where Python raises RecursionError.
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = f" (line {error.problem_mark.line + 1})" if error.problem_mark else ""
        raise UserError(f"{where} is not valid YAML{line}: {error.problem or error.context}.") from error
    except YAMLError as error:
        raise UserError(f"{where} is not valid YAML: {' '.join(str(error).split())}.") from error
    except RecursionError as error:
        raise UserError(f"{where} is nested too deeply to be read.") from error
    except (
        Exception
    ) as error:  # What a tag or the form of a value promises and its text is not, such as the 45th of May.
        raise UserError(f"{where} is not valid YAML: {first_line(error)}.") from error
