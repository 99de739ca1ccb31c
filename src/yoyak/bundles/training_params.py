"""config.yaml of a bundle: the params of the training, from MLflow's flat texts to a tree and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yoyak.bundles.metadata import is_mlflow_key
from yoyak.errors import UserError, first_line
from yoyak.tracking.stage_run import flatten

MAX_BYTES = 1 << 18
"""Size of config.yaml, which is slow to read."""
MAX_DEPTH = 50
MAX_PARAM_CHARS = 6000
"""The longest value of a param that MLflow accepts."""

_TEXT_KEYS = ("checkpoint", "revision", "tokenizer", "prefix", "separator")
"""Values of a member that are text, whatever they look like."""


def unflatten(flat: Mapping[str, str]) -> dict[str, Any]:
    """Return the params of a run, with dotted names and text values, as the tree that they form in params.yaml."""
    tree: dict[str, Any] = {}
    for key, text in sorted(flat.items()):
        *parents, last = key.split(".")
        branch: Any = tree
        for parent in parents:
            branch = branch.setdefault(parent, {}) if isinstance(branch, dict) else None
        if isinstance(branch, dict):
            is_text = len(parents) == 2 and parents[0] == "members" and last in _TEXT_KEYS and text != "null"
            branch[last] = text if is_text else _parse(text)
        else:
            tree[key] = text
    return tree


def loggable_params(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the params that MLflow accepts; config.yaml, which has all of them, is kept with the run."""
    flat = flatten(params)
    return {key: text for key, text in flat.items() if is_mlflow_key(key) and len(text) <= MAX_PARAM_CHARS}


def read_params(path: Path, where: str) -> dict[str, Any]:
    """Read config.yaml; an empty mapping where it is missing."""
    from ruamel.yaml import YAML

    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        value: Any = YAML(typ="safe", pure=True).load(text) if _is_safe(text) else []
    except Exception as error:  # ruamel.yaml raises errors of its own and of Python.
        raise UserError(f"{where} is not valid YAML ({first_line(error)}): create the bundle again.") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise UserError(f"{where} must be a mapping of params, without aliases and not deeper than {MAX_DEPTH}.")
    return value


def _is_safe(text: str) -> bool:
    """Return whether YAML is safe to load: nested aliases become gigabytes, and depth becomes hours."""
    from ruamel.yaml import YAML, events

    depth = 0
    for event in YAML(typ="safe", pure=True).parse(text):
        depth += isinstance(event, events.CollectionStartEvent) - isinstance(event, events.CollectionEndEvent)
        if depth > MAX_DEPTH or isinstance(event, events.AliasEvent):
            return False
    return True


def _parse(text: str) -> Any:
    """Return the value that `flatten` wrote as this text."""
    try:
        value = json.loads(text)
        return value if json.dumps(value, ensure_ascii=False) == text else text
    except (ValueError, RecursionError):
        return text
