"""Checkpoints under well-known names, matched regardless of case and punctuation."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from yoyak.errors import UserError, nearest


@cache
def entries() -> dict[str, dict[str, str]]:
    """Return the catalog: name -> checkpoint on the Hub and family."""
    from ruamel.yaml import YAML

    text = files("yoyak.models").joinpath("catalog.yaml").read_text(encoding="utf-8")
    return dict(YAML(typ="safe").load(text))


def find(name: str) -> str | None:
    """Return the catalog's spelling of ``name``, or None: ``SOLAR_10.7B`` and ``solar 10.7b`` are the same."""
    normalized = _normalize(name)
    return next((entry for entry in entries() if _normalize(entry) == normalized), None)


def checkpoint(name: str) -> str:
    """Return the argument for `from_pretrained`: a local folder or Hub name unchanged, or a catalog name's checkpoint.

    Raises UserError for any other name, with the nearest name in the catalog.
    """
    if Path(name, "config.json").is_file():
        return name
    entry = find(name)
    if entry is not None:
        return entries()[entry]["checkpoint"]
    if Path(name).is_dir():
        raise UserError(f"The folder '{name}' is not a model: it has no config.json.")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        return name
    raise UserError(
        f"'{name}' is not a local folder, a name in the catalog or a name on the Hub{nearest(name, entries())}."
    )


def _normalize(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "", name.casefold())
