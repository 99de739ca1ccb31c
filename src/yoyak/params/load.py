"""params.yaml as frozen, typed, documented objects.

`read("scoring", "seed")` gives a stage the sections it names and no others, so that what a stage may read is what
dvc.yaml says it depends on. Unknown keys are errors that name the nearest key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast, get_args

from pydantic import ValidationError
from pydantic_core import to_jsonable_python

from yoyak.errors import UserError, nearest
from yoyak.params import overrides
from yoyak.params.ensemble import OfCandidates, OfModels
from yoyak.params.schema import Params

PARAMS_FILE = "params.yaml"
SHOWN = 60
"""Characters of a wrong value that an error shows."""


def load(path: str | os.PathLike[str] = PARAMS_FILE, env: Mapping[str, str] | None = None) -> Params:
    """Return the effective params of a file: its values, the environment's overrides, the defaults.

    Raises UserError in one sentence for a file that is missing or no YAML, a key that is unknown (with the nearest
    one) and a value that does not fit.
    """
    tree, sources = overrides.effective(path, os.environ if env is None else env, Params)
    return validate(tree, str(path), sources)


def read(*sections: str, path: str | os.PathLike[str] = PARAMS_FILE) -> Params:
    """Return the params with nothing but the named sections in them, such as ``"seed"`` or ``"members.bart"``.

    Reading any other raises AttributeError: a stage that read it would not be run again when it changes.
    Raises UserError where the environment overrides one of them under DVC, whose lock file would then record a
    value that was not used; and where ``members.x`` names no member.
    """
    tree, sources = overrides.effective(path, os.environ, Params)
    if "DVC_STAGE" in os.environ:
        for key, variable in sources.items():
            if any(key[: section.count(".") + 1] == tuple(section.split(".")) for section in sections):
                raise UserError(
                    f"{variable} would change {'.'.join(key)} behind DVC's back: unset it, and use "
                    f"`dvc exp run -S {'.'.join(key)}=…` or edit {path}."
                )
    whole = validate(tree, str(path), sources)
    kept: dict[str, Any] = {}
    for section in sections:
        name, dot, inner = section.partition(".")
        if not dot:
            kept[name] = getattr(whole, name)
        elif isinstance(getattr(whole, name), dict):
            kept[name] = {inner: _entry(getattr(whole, name), name, inner, path)}
        else:
            field, dot, entry = inner.partition(".")
            value = getattr(getattr(whole, name), field)
            shown = {entry: _entry(value, f"{name}.{field}", entry, path)} if dot else value
            vars(kept.setdefault(name, SimpleNamespace()))[field] = shown
    return cast(Params, SimpleNamespace(**kept))


def _entry(values: Mapping[str, Any], where: str, name: str, path: str | os.PathLike[str]) -> Any:
    if name not in values:
        raise UserError(f"{path}: {where} has no '{name}'{nearest(name, values)}.")
    return values[name]


def dump(settings: Params | Mapping[str, Any]) -> dict[str, Any]:
    """Return params, or the sections of them that `read` gave, as plain values."""
    return to_jsonable_python(settings, fallback=vars)


def validate(tree: dict[str, Any], where: str, sources: Mapping[tuple[str, ...], str] | None = None) -> Params:
    """Return the tree of a params file as typed objects; UserError in one sentence for the first thing wrong.

    ``sources`` names the environment's variable behind each key that one overrides.
    """
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        raise UserError(_sentence(error, where, sources or {})) from error


def _sentence(error: ValidationError, where: str, sources: Mapping[tuple[str, ...], str]) -> str:
    """Turn one of pydantic's complaints into a sentence: of an unknown key first, it is often a missing one's cause."""
    complaints = error.errors(include_url=False)
    first = next((found for found in complaints if found["type"] == "extra_forbidden"), complaints[0])
    if isinstance(first["input"], dict):
        # Of what may be a word or a mapping, a mapping was meant.
        first = next((found for found in complaints if any("dict[" in str(part) for part in found["loc"])), first)
    location = [str(part) for part in first["loc"] if "[" not in str(part) or part == "[key]"]
    if location[:1] == ["ensemble"] and location[1:2] in (["strategies"], ["models"]):
        # Behind a strategy's name pydantic puts the type that it has been taken for, which is no key.
        del location[3:4]
    if first["type"].startswith("union_tag"):
        kinds = first["ctx"].get("expected_tags") or ", ".join(_kinds(location[1]))
        return f"{where}: {'.'.join(location)}.type must be one of {kinds}."
    if first["type"] == "extra_forbidden":
        parent = ".".join(location[:-1]) or "the top level"
        known = overrides.keys_below(Params, location[:-1])
        return f"{where}: {parent} has no key '{location[-1]}'{nearest(location[-1], known)}."
    if location[-1:] == ["[key]"]:
        name = first["input"]
        return f"{where}: {'.'.join(location[:-2])} cannot hold the name {name!r}: use letters, digits, - and _."
    key = ".".join(location)
    where = sources.get(tuple(location), where)
    message = first["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    shown = "null" if first["input"] is None else repr(first["input"])
    shown = shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}…"
    given = "" if first["type"] in ("missing", "value_error") else f", not {shown}"
    return f"{where}: {key + ': ' if key else ''}{message}{given}."


def _kinds(section: str) -> list[str]:
    """Return the types of the strategies that a section of ensemble holds."""
    union = get_args(OfCandidates if section == "strategies" else OfModels)[0]
    return [repr(get_args(kind.model_fields["type"].annotation)[0]) for kind in get_args(union)]
