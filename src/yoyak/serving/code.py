"""The code of a served model: the files that run it, their digest, and the copy in the model's folder."""

from __future__ import annotations

import ast
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yoyak
from yoyak.tracking.lineage import source_digest

ENTRY = "yoyak.serving.model"
"""The module that MLflow loads."""
_BY_NAME = re.compile(r"(yoyak(?:\.\w+)+):\w+")
"""How one module names an object of another without importing it, as the families are named."""


@cache
def serving_files() -> tuple[Path, ...]:
    """Return the source files that `ENTRY` imports, directly or not, relative to the folder of the package."""
    found: dict[str, Path] = {}
    waiting = [ENTRY]
    while waiting:
        module = waiting.pop()
        path = _module_file(module)
        if path is None or module in found:
            continue
        found[module] = path
        waiting += [*_references(path), module.rpartition(".")[0]]
    root = Path(yoyak.__file__).parent
    return tuple(sorted(path.relative_to(root) for path in found.values()))


@cache
def code_digest() -> str:
    """Return the sha256 of what `serving_files` do: comments, docstrings and layout do not count."""
    return source_digest(Path(yoyak.__file__).parent, serving_files())


def copy_code(folder: Path) -> Path:
    """Copy the package without compiled files below ``folder`` and return its folder.

    All of it: MLflow puts the copy in front of what is installed, so a part of it would hide the rest.
    """
    root, copy = Path(yoyak.__file__).parent, folder / "yoyak"
    shutil.copytree(root, copy, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    return copy


def _module_file(module: str) -> Path | None:
    """Return the file of one of this package's modules, or None for any other name."""
    package, *parts = module.split(".")
    if package != "yoyak":
        return None
    path = Path(yoyak.__file__).parent.joinpath(*parts)
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _references(path: Path) -> Iterator[str]:
    """Yield the names in a file that may be modules, imported at its top, inside a function, or by name."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and (name := _BY_NAME.fullmatch(str(node.value))):
            yield name[1]
