"""Finding the model to export, and the exported model."""

from __future__ import annotations

from pathlib import Path

from yoyak import project
from yoyak.errors import UserError, nearest
from yoyak.models.spec import ONNX_FILE, SPEC_FILE


def find_source(name: str) -> Path:
    """Return the folder of a member or a soup. Raises UserError with the nearest name if there is none."""
    soups = {path.parent.parent.name: path.parent for path in sorted(project.ENSEMBLES.glob(f"*/model/{SPEC_FILE}"))}
    members = {path.parent.name: path.parent for path in sorted(project.MODELS.glob(f"*/{SPEC_FILE}"))}
    folders = {**soups, **members}
    if name not in folders:
        raise UserError(f"export.model is '{name}', and there is no such model{nearest(name, folders)}.")
    return folders[name]


def find_export() -> Path:
    """Return the folder of the exported model."""
    folders = [path.parent for path in sorted(project.EXPORTS.glob(f"*/{ONNX_FILE}"))]
    if len(folders) != 1:
        problem = "no exported model" if not folders else f"{len(folders)} exported models instead of one"
        raise UserError(f"{project.EXPORTS}/ holds {problem}: run `yoyak export`.")
    return folders[0]
