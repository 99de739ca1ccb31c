"""yoyak params: the effective params and where each comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel

from yoyak.params import PARAMS_FILE, Params, validate
from yoyak.params.overrides import effective


def run(*, file: Annotated[str, Parameter(help="A params file.")] = PARAMS_FILE) -> None:
    """Print one line for each value: key, value, and default, the file's name or the variable behind it."""
    tree, sources = effective(file, os.environ, Params)
    rows = list(_rows(validate(tree, file), tree, (), file, sources))
    width = max(len(key) for key, _, _ in rows)
    values = min(60, max(len(value) for _, value, _ in rows))
    for key, value, source in rows:
        print(f"{key:{width}}  {value:{values}}  {source}")


def _rows(
    value: Any, given: Any, path: tuple[str, ...], file: str, sources: dict[tuple[str, ...], str]
) -> Iterator[tuple[str, str, str]]:
    """Walk the typed values beside the tree that was given."""
    inner = dict(value) if isinstance(value, BaseModel) else value
    if isinstance(inner, dict) and inner:
        for key, below in inner.items():
            yield from _rows(below, given.get(key) if isinstance(given, dict) else None, (*path, key), file, sources)
        return
    source = sources.get(path, "default" if given is None else file)
    plain = isinstance(inner, str) and inner.strip() == inner != "" and inner.isprintable()
    yield ".".join(path), inner if plain else json.dumps(inner, ensure_ascii=False), source
