"""Checkpoints by well-known names, whatever their case and punctuation."""

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
    """Return the catalog's name for ``name``: ``SOLAR_10.7B``, ``solar-10-7b`` and ``solar 10.7b`` are one."""
    wanted = _plain(name)
    return next((known for known in entries() if _plain(known) == wanted), None)


def checkpoint(name: str) -> str:
    """Return what `from_pretrained` takes: a local folder as it is, a catalog name's checkpoint, a Hub name as it is.

    Raises UserError for a name that is none of these, with the nearest name of the catalog.
    """
    if Path(name, "config.json").is_file():
        return name
    known = find(name)
    if known is not None:
        return entries()[known]["checkpoint"]
    if Path(name).is_dir():
        raise UserError(f"The folder '{name}' is not a model: it has no config.json.")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", name) and not name.startswith("."):
        return name
    raise UserError(
        f"'{name}' is not a local folder, a name of the catalog or a name on the Hub{nearest(name, entries())}."
    )


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]+", "", name.casefold())
