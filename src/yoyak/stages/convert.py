"""yoyak convert: write any model as ONNX graphs that run without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from yoyak import params
from yoyak.errors import UserError


def run(model: str, output: str, precision: Literal["int8", "fp32", "int4"] | None = None) -> None:
    """Export a folder, or a model of MLflow, with the settings of params.yaml where there is one."""
    out = Path(output)
    if out.exists() and not (out / "onnx.json").is_file():
        raise UserError(f"{out} exists and does not hold an exported model: name a new folder.")
    settings = params.load_or_default().export
    if precision is not None:
        settings = settings.model_copy(update={"precision": precision})
    from yoyak.bundles.resolve import resolve_model
    from yoyak.export.folder import describe_export, export_model

    print(describe_export(out, export_model(resolve_model(model), out, settings)))
