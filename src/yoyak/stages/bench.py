"""yoyak bench: size, speed, memory and ROUGE of the exported model beside fp32, and whether it should be served."""

from __future__ import annotations

from yoyak import params, project
from yoyak.files import atomic_path, write_json, write_result
from yoyak.params.stages import BenchParams


def run() -> None:
    """Measure what is in exports/ and write bench/ and metrics/bench.json."""
    p = params.load(BenchParams)
    from yoyak.bench import page
    from yoyak.bench.results import collect_dvc_metrics, collect_run_metrics, extract_serving_decision
    from yoyak.bench.run import Subject, run_bench
    from yoyak.data.records import read_jsonl
    from yoyak.export.source import find_export, find_source
    from yoyak.tracking import lineage, runs

    folder = find_export()
    subject = Subject(name=folder.name, folder=folder, source=find_source(folder.name))
    inputs = lineage.digests([folder, subject.source, project.DEV_SPLIT])
    with runs.stage_run("bench", member=subject.name, params=params.dump(p), inputs=inputs) as run:
        result = run_bench(subject, read_jsonl(project.DEV_SPLIT), p)
        with atomic_path(project.BENCH) as work:
            page.write_report(result, work)
            write_result(work / "figures.json", result)
            write_result(work / "serving.json", extract_serving_decision(result))
        write_json(project.BENCH_METRICS, collect_dvc_metrics(result))
        run.log_metrics(collect_run_metrics(result))
        run.log_artifacts(project.BENCH, project.BENCH.name)
        run.log_artifact(folder / "ops.json", "export")
    for check in result.gate.checks:
        print(f"{'passed' if check.passed else 'failed'}: {check.sentence}")
    print(f"batch size to serve with: {result.search.batch_size}")
    print(f"bench: {(project.BENCH / 'index.html').absolute().as_uri()}")
