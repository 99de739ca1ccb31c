"""yoyak params: every value in effect and where it comes from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Annotated, Any

from cyclopts import Parameter
from pydantic import BaseModel

from yoyak.params import PARAMS_FILE, Params, validate
from yoyak.params.overrides import read_with_overrides


def run(*, file: Annotated[str, Parameter(help="A params file.")] = PARAMS_FILE) -> None:
    """Print one line for each value: key, value, and default, the file's name or the variable behind it."""
    tree, sources = read_with_overrides(file, os.environ, Params)
    rows = list(_rows(validate(tree, file), tree, (), file, sources))
    key_width = max(len(key) for key, _, _ in rows)
    value_width = min(60, max(len(value) for _, value, _ in rows))
    for key, value, source in rows:
        print(f"{key:{key_width}}  {value:{value_width}}  {source}")


def _rows(
    value: Any, given: Any, path: tuple[str, ...], file: str, sources: dict[tuple[str, ...], str]
) -> Iterator[tuple[str, str, str]]:
    """Yield key, value and source of every typed value; ``given`` is what the file and the environment say there."""
    plain = dict(value) if isinstance(value, BaseModel) else value
    if isinstance(plain, dict) and plain:
        for key, child in plain.items():
            given_child = given.get(key) if isinstance(given, dict) else None
            yield from _rows(child, given_child, (*path, key), file, sources)
        return
    source = sources.get(path, "default" if given is None else file)
    is_word = isinstance(plain, str) and plain.strip() == plain != "" and plain.isprintable()
    yield ".".join(path), plain if is_word else json.dumps(plain, ensure_ascii=False), source
