"""yoyak convert: write any model as ONNX graphs that run without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from yoyak import params
from yoyak.errors import UserError
from yoyak.models.spec import ONNX_FILE
from yoyak.stages.arguments import ModelUri


def run(
    model: ModelUri,
    output: Annotated[str, Parameter(help="Folder to write; an earlier export there is replaced.")],
    /,
    *,
    precision: Annotated[
        Literal["int8", "fp32", "int4"] | None,
        Parameter(help="Without it, export.precision of params.yaml or int8."),
    ] = None,
    calibration: Annotated[
        str | None,
        Parameter(
            help="CSV or JSONL file with dialogues like those to summarize, for int8: activations get constant scales, "
            "which is faster than a scale for each row."
        ),
    ] = None,
) -> None:
    """Export a folder, or a model of MLflow, with the settings of params.yaml where there is one."""
    out = Path(output)
    if out.exists() and not (out / ONNX_FILE).is_file():
        raise UserError(f"{out} exists and does not hold an exported model: name a new folder.")
    loaded = params.load_or_default()
    settings = loaded.export
    if precision is not None:
        settings = settings.model_copy(update={"precision": precision})
    if calibration is not None and settings.precision != "int8":
        raise UserError(f"--calibration is for int8, and the precision is {settings.precision}: leave one of them out.")
    if calibration is not None and settings.activations != "constant":
        raise UserError(
            f"--calibration finds constant scales, and export.activations is {settings.activations}: leave one of them "
            "out."
        )
    from yoyak.bundles.resolve import resolve_model
    from yoyak.data.preparing import read_input
    from yoyak.export.folder import export_model

    rows = read_input(Path(calibration), loaded.data, calibration) if calibration is not None else []
    dialogues = [row for row in rows if row.dialogue]
    if calibration is not None and not dialogues:
        raise UserError(f"{calibration} has no dialogue to calibrate with: name a file with at least one.")
    print(export_model(resolve_model(model), out, settings, dialogues).describe())
