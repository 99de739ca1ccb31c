"""The exported model's figures and the behaviour rates of both revisions."""

from __future__ import annotations

from yoyak import project
from yoyak.behaviour.results import CHECKS, Behaviour, read_behaviour
from yoyak.bench.results import BenchResult, Cell
from yoyak.errors import UserError
from yoyak.files import read_result
from yoyak.revisions.files import RevisionFiles
from yoyak.revisions.results import MetricChange, Note, RateChange, SpeedChange

FIGURES = (project.BENCH / "figures.json").as_posix()
SPEED, BEHAVIOUR = "Speed and size", "Behaviour"


def compare_speed(
    base: RevisionFiles, head: RevisionFiles, metrics: list[MetricChange]
) -> tuple[list[SpeedChange], list[Note]]:
    """Return the figures of the bench: its metrics, the latency of each cell, and the size of the export."""
    names = {"speedup": "speed of INT8, as a multiple of fp32", "rouge_change": "combined ROUGE of INT8 minus fp32"}
    changes = [
        SpeedChange(name=names.get(metric.key, metric.key), old=metric.old, new=metric.new, unit="")
        for metric in metrics
        if metric.file == project.BENCH_METRICS.as_posix()
    ]
    sizes = [_size_of_exports(files) for files in (base, head)]
    if sizes[0] is not None or sizes[1] is not None:
        changes.append(SpeedChange(name="size of the exports", old=sizes[0], new=sizes[1], unit="MB"))
    sides: list[BenchResult] = []
    notes = []
    for files in (base, head):
        path = files.fetch_output(FIGURES)
        if path is None:
            notes.append(Note(section=SPEED, text=files.explain(FIGURES)))
            continue
        try:
            sides.append(read_result(path, BenchResult, command="dvc repro export/dvc.yaml"))
        except UserError:
            notes.append(Note(section=SPEED, text=f"{FIGURES} of {files.revision.label} is damaged."))
    if len(sides) == 2:
        old, new = sides
        same = old.machine == new.machine
        if not same:
            text = "The benches ran on different machines or library versions, so their latencies are not comparable."
            notes.append(Note(section=SPEED, text=text))
        before, after = ({_name_cell(cell): cell for cell in side.cells} for side in sides)
        for name in [name for name in after if name in before]:
            values = (before[name].p50_ms, after[name].p50_ms)
            changes.append(SpeedChange(name=f"{name}: p50", old=values[0], new=values[1], unit="ms", comparable=same))
    return changes, notes


def compare_behaviour(base: RevisionFiles, head: RevisionFiles) -> tuple[list[RateChange], list[Note]]:
    """Return the rate of each check of each member that both revisions tested."""
    name = project.BEHAVIOUR.as_posix()
    sides: list[dict[str, Behaviour]] = []
    notes: list[Note] = []
    for files in (base, head):
        folder = files.fetch_output(name)
        if folder is None:
            notes.append(Note(section=BEHAVIOUR, text=files.explain(name)))
            continue
        try:
            sides.append({path.stem: read_behaviour(path) for path in sorted(folder.glob("*.json"))})
        except UserError:
            notes.append(Note(section=BEHAVIOUR, text=f"{name} of {files.revision.label} is of another version."))
    if len(sides) < 2:
        return [], notes
    cases = [_digest_of_cases(files) for files in (base, head)]
    if all(cases) and cases[0] != cases[1]:
        text = "The revisions tested other cases, so rates may differ because of these; those of test are comparable."
        notes.append(Note(section=BEHAVIOUR, text=text))
    old, new = sides
    return [
        _compare_rates(member, check, old[member], new[member])
        for member in new
        if member in old
        for check in CHECKS
        if check in old[member].rates and check in new[member].rates
    ], notes


def _digest_of_cases(files: RevisionFiles) -> str:
    """Return DVC's md5 of the dialogues that behaviour tests summarize; empty if it is not known."""
    deps = files.stages.get("behaviour", {}).get("deps", ())
    return next((str(dep.get("md5", "")) for dep in deps if dep["path"] == project.CASE_DIALOGUES.as_posix()), "")


def _compare_rates(member: str, check: str, old: Behaviour, new: Behaviour) -> RateChange:
    from scipy.stats import fisher_exact

    before, after = old.rates[check], new.rates[check]
    table = [[rate.failures, rate.n - rate.failures] for rate in (before, after)]
    return RateChange(
        member=member,
        check=CHECKS[check],
        old=before.rate,
        old_n=before.n,
        new=after.rate,
        new_n=after.n,
        p_value=float(fisher_exact(table).pvalue),
    )


def _size_of_exports(files: RevisionFiles) -> float | None:
    size = files.outputs.get(project.EXPORTS.as_posix(), {}).get("size")
    return size / 1e6 if isinstance(size, int) else None


def _name_cell(cell: Cell) -> str:
    return f"{cell.variant}, batch {cell.batch_size}, beams {cell.beams}"
