"""yoyak export: the chosen model as ONNX graphs that run without torch."""

from __future__ import annotations

from pathlib import Path

from yoyak import params
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path
from yoyak.params.stages import ExportParams

BEST = "best"


def run() -> None:
    """Export the model that ``export.model`` names."""
    settings = params.load(ExportParams).export
    name, folder = find(settings.model)
    from yoyak.export.folder import describe_export, export_model
    from yoyak.tracking import lineage, runs

    inputs = lineage.digests([folder])
    with runs.stage_run("export", params={"export": settings, "model": name}, inputs=inputs) as run:
        with atomic_path("exports") as work:
            work.mkdir()
            made = export_model(folder, work / name, settings)
        run.log_metrics({"megabytes": made["bytes"] / 1e6, "ratio": made["torch_bytes"] / made["bytes"]})
        run.log_artifact(Path("exports", name, "ops.json"), "export")
    print(describe_export(Path("exports", name), made))


def find(wanted: str) -> tuple[str, Path]:
    """Return the name and the folder of a member, a soup, or the best member of the evaluation."""
    if wanted == BEST:
        from yoyak.scoring.results import read_evaluation

        wanted = read_evaluation("evaluation").best_member
    places = {path.parent.name: path.parent for path in sorted(Path("models").glob("*/yoyak.json"))}
    soups = {path.parent.parent.name: path.parent for path in sorted(Path("ensembles").glob("*/model/yoyak.json"))}
    places = {**soups, **places}
    if wanted not in places:
        raise UserError(f"export.model is '{wanted}', and no model is named so{nearest(wanted, [BEST, *places])}.")
    return wanted, places[wanted]
