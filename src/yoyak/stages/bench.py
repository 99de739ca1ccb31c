"""yoyak bench: size, speed, memory and ROUGE of the exported model beside fp32, and whether it is to be served."""

from __future__ import annotations

from typing import Any

from yoyak import params, project
from yoyak.files import atomic_path, write_json
from yoyak.params.stages import BenchParams


def run() -> None:
    """Measure what is in exports/ and write bench/."""
    p = params.load(BenchParams)
    from yoyak.bench import page
    from yoyak.bench.run import Subject, run_bench
    from yoyak.data.records import read_jsonl
    from yoyak.export.source import find_export, find_source
    from yoyak.tracking import lineage, runs

    folder = find_export()
    name, source = folder.name, find_source(folder.name)
    subject = Subject(name=name, folder=folder, source=source)
    inputs = lineage.digests([folder, source, project.DEV_SPLIT])
    with runs.stage_run("bench", member=name, params=params.dump(p), inputs=inputs) as run:
        figures = run_bench(subject, read_jsonl(project.DEV_SPLIT), p)
        with atomic_path(project.BENCH) as work:
            page.write(figures, work)
            write_json(work / "figures.json", figures)
            write_json(work / "serving.json", served(figures))
            write_json(work / "bench.json", metrics(figures))
        run.log_metrics(logged(figures))
        run.log_artifacts(project.BENCH, project.BENCH.name)
        run.log_artifact(folder / "ops.json", "export")
    for condition in figures["gate"]["conditions"]:
        print(f"{'passed' if condition['passed'] else 'failed'}: {condition['sentence']}")
    print(f"batch size to serve with: {figures['search']['batch_size']}")
    print(f"bench: {(project.BENCH / 'index.html').absolute().as_uri()}")


def served(figures: dict[str, Any]) -> dict[str, Any]:
    """Return what `release` needs: which model, the batch size, the gate with its figures."""
    cell = _at_serving_batch(figures)
    return {
        "model": figures["model"],
        "precision": figures["precision"],
        "export_md5": figures["export_md5"],
        "batch_size": figures["search"]["batch_size"],
        "gate": {
            "passed": figures["gate"]["passed"],
            "sentences": [one["sentence"] for one in figures["gate"]["conditions"]],
            "figures": figures["gate_figures"],
        },
        "bench": {
            "disk_mb": figures["variants"]["exported"]["disk_mb"],
            "load_seconds": figures["variants"]["exported"]["load_seconds"],
            "processor": figures["machine"]["processor"],
            "cores": figures["machine"]["cores"],
            **cell,
        },
    }


def metrics(figures: dict[str, Any]) -> dict[str, Any]:
    """Return the few figures that `dvc metrics` shows."""
    combined = figures["quality"]["metrics"]["combined"]
    speed = figures["gate_figures"].get("speed.ratio")
    return {
        "batch_size": figures["search"]["batch_size"],
        "disk_mb": figures["variants"]["exported"]["disk_mb"],
        **_at_serving_batch(figures),
        **({"times_fp32": speed} if speed is not None else {}),
        "rouge": combined["exported"],
        "rouge_difference": combined["difference"],
        "rouge_difference_low": combined["low"],
        "served": int(figures["gate"]["passed"]),
    }


def logged(figures: dict[str, Any]) -> dict[str, float | None]:
    """Return every figure as a metric of the run."""
    found: dict[str, float | None] = {}
    for name, about in figures["variants"].items():
        found |= {f"{name}.{key}": about[key] for key in ("disk_mb", "load_seconds", "start_seconds", "loaded_mb")}
    for row in figures["cells"]:
        key = f"{row['variant']}.batch_{row['batch_size']}.beams_{row['beams']}"
        found |= {f"{key}.{name}": row[name] for name in ("samples_per_second", "p50_ms", "p95_ms", "peak_mb", "ratio")}
    for name, row in figures["quality"]["metrics"].items():
        found |= {f"dev.{name}.{key}": row[key] for key in ("exported", "fp32", "difference", "low", "high")}
    return {**found, "batch_size": figures["search"]["batch_size"], "gate.passed": float(figures["gate"]["passed"])}


def _at_serving_batch(figures: dict[str, Any]) -> dict[str, float]:
    """Return speed and memory where the search met the serving batch; nothing where that was given, and not met."""
    for one in figures["search"]["tried"]:
        if one["batch_size"] == figures["search"]["batch_size"] and one["samples_per_second"]:
            return {key: one[key] for key in ("samples_per_second", "peak_mb")}
    return {}
