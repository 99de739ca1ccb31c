"""The part of this package that runs a served model: its files, their digest, and a copy for the model's folder."""

from __future__ import annotations

import ast
import hashlib
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import yoyak

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
    """Return the sha256 of `serving_files`: it changes if and only if the code that runs a model changes."""
    root, digest = Path(yoyak.__file__).parent, hashlib.sha256()
    for path in serving_files():
        content = (root / path).read_bytes()
        digest.update(f"{path.as_posix()} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def copy_code(folder: Path) -> Path:
    """Copy `serving_files` below ``folder`` as the package ``yoyak`` and return its folder."""
    root, copy = Path(yoyak.__file__).parent, folder / "yoyak"
    for path in serving_files():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, copy / path)
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
