"""yoyak export: a member, a soup or any model as ONNX graphs that run without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from yoyak import params
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path

BEST = "best"


def run(model: str | None = None, output: str | None = None, precision: str | None = None) -> None:
    """Write exports/<name>/ as params.yaml says, or export any model to a folder of its own."""
    if model is None:
        if output is not None or precision is not None:
            raise UserError("--output and --precision go with --model; without it, params.yaml says what is exported.")
        export_chosen()
    elif output is None:
        raise UserError("--model needs --output, the folder to write.")
    else:
        export_any(model, Path(output), precision)


def export_chosen() -> None:
    """Export the model that ``export.model`` names."""
    settings = params.read("export").export
    name, folder = find(settings.model)
    from yoyak.export.folder import export_model
    from yoyak.tracking import lineage, runs

    inputs = lineage.digests([folder])
    with runs.stage_run("export", params={"export": settings, "model": name}, inputs=inputs) as run:
        with atomic_path("exports") as work:
            work.mkdir()
            made = export_model(folder, work / name, settings)
        run.log_metrics({"megabytes": made["bytes"] / 1e6, "ratio": made["torch_bytes"] / made["bytes"]})
        run.log_artifact(Path("exports", name, "ops.json"), "export")
    print(_sentence(Path("exports", name), made))


def export_any(model: str, out: Path, precision: str | None) -> None:
    """Export a folder, or a model of MLflow, with the settings of params.yaml where there is one."""
    if out.exists() and not (out / "onnx.json").is_file():
        raise UserError(f"{out} is there and no exported model: name a new folder.")
    # A model is exported anywhere: outside of a project, settings are the usual ones.
    settings = params.read("export").export if Path(params.PARAMS_FILE).exists() else params.Export()
    if precision is not None:
        settings = settings.model_copy(update={"precision": precision})
    from yoyak.bundles.resolve import resolve_model
    from yoyak.export.folder import export_model

    print(_sentence(out, export_model(resolve_model(model), out, settings)))


def find(wanted: str) -> tuple[str, Path]:
    """Return the name and the folder of a member, a soup, or the best member of the evaluation."""
    if wanted == BEST:
        wanted = json.loads(Path("evaluation/summary.json").read_text(encoding="utf-8"))["best_member"]
    places = {path.parent.name: path.parent for path in sorted(Path("models").glob("*/yoyak.json"))}
    soups = {path.parent.parent.name: path.parent for path in sorted(Path("ensembles").glob("*/model/yoyak.json"))}
    places = {**soups, **places}
    if wanted not in places:
        raise UserError(f"export.model is '{wanted}', and no model is named so{nearest(wanted, [BEST, *places])}.")
    return wanted, places[wanted]


def _sentence(folder: Path, made: dict[str, Any]) -> str:
    ratio = made["torch_bytes"] / made["bytes"]
    return f"{folder}: {made['bytes'] / 1e6:.1f} MB, of {made['torch_bytes'] / 1e6:.1f} MB in torch ({ratio:.2f} to 1)"
