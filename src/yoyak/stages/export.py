"""yoyak export: the chosen model as ONNX graphs that run without torch."""

from __future__ import annotations

from yoyak import params, project
from yoyak.files import atomic_path
from yoyak.params.stages import ExportParams

BEST = "best"


def run() -> None:
    """Export the model that ``export.model`` names."""
    settings = params.load(ExportParams).export
    from yoyak.data.records import read_jsonl
    from yoyak.export.folder import export_model
    from yoyak.export.source import find_source
    from yoyak.models.families import family_of
    from yoyak.models.spec import load_spec
    from yoyak.scoring.results import read_evaluation
    from yoyak.tracking import lineage, runs

    name = read_evaluation(project.EVALUATION).best_member if settings.model == BEST else settings.model
    folder = find_source(name)
    family_of(load_spec(folder), f"export.model: {name}")
    inputs = lineage.digests([folder, project.DEV_SPLIT])
    with runs.stage_run("export", params={"export": settings, "model": name}, inputs=inputs) as run:
        with atomic_path(project.EXPORTS) as work:
            work.mkdir()
            result = export_model(folder, work / name, settings, read_jsonl(project.DEV_SPLIT))
        run.log_metrics({"megabytes": result.bytes / 1e6, "ratio": result.ratio})
        run.log_artifact(project.export_folder(name) / "ops.json", "export")
    print(result.describe(project.export_folder(name)))
