"""The bench report: index.html, a single self-contained file, and report.md with its images."""

from __future__ import annotations

from pathlib import Path

from yoyak.bench import charts
from yoyak.bench.batch_size import MAX_BATCH_SIZE, MIN_SPEEDUP
from yoyak.bench.results import BatchSizeSearch, BenchResult, FloatOperators, Quality
from yoyak.bench.variants import EXPORTED, display_name
from yoyak.reporting import render
from yoyak.reporting.formats import format_p_value, format_score, format_signed, format_signed_interval
from yoyak.reporting.view import Table
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.metrics import METRIC_LABELS

TEMPLATES = Path(__file__).parent
NUMBER_TYPES = {"int8": "8-bit integers", "int4": "4-bit integers", "float": "float", "int64": "other"}


def write_report(result: BenchResult, out: Path) -> None:
    """Create the folder ``out`` with both pages and their images."""
    charts_by_name = charts.draw_charts(result)
    env = render.make_environment(TEMPLATES, render.TEMPLATES)
    values = {
        "result": result,
        "name": display_name(EXPORTED, result.precision),
        "verdict": describe_verdict(result),
        "charts": charts_by_name,
        "frontiers": [chart for name, chart in charts_by_name.items() if name.startswith("frontier")],
        "cell_tables": [_build_cells_table(result, beams) for beams in result.beams],
        "rounds_table": _build_rounds_table(result),
        "variants_table": _build_variants_table(result),
        "search_table": _build_search_table(result.search),
        "rouge_table": _build_rouge_table(result.quality),
        "float_tables": _build_float_tables(result.float_operators),
        "min_speedup": f"{(MIN_SPEEDUP - 1) * 100:g}%",
        "max_batch_size": MAX_BATCH_SIZE,
        "style": render.read_style(),
    }
    render.write_images(charts_by_name, out)
    render.write_text_file(out / "index.html", env.get_template("page.html.j2").render(values))
    render.write_text_file(out / "report.md", env.get_template("page.md.j2").render(values))


def describe_verdict(result: BenchResult) -> str:
    """Return the headline: which model to serve, and why."""
    name = f"{display_name(EXPORTED, result.precision)} of {result.model}"
    if result.gate.passed:
        return f"{name} is the model to serve: faster than fp32 on this machine, and as good within the bound"
    reasons = []
    if not result.gate.speed.passed:
        reasons.append("it has not been shown to be faster")
    if not result.gate.rouge.passed:
        reasons.append("it may lose more ROUGE than allowed")
    return f"fp32 stays the model to serve instead of {name}: {' and '.join(reasons)}"


def _build_variants_table(result: BenchResult) -> Table:
    rows = []
    for name, startup in result.variants.items():
        peak = max(cell.peak_mb for cell in result.cells if cell.variant == name)
        rows.append(
            (
                display_name(name, result.precision),
                _format_number(startup.disk_mb),
                f"{startup.load_seconds:.2f}",
                f"{startup.start_seconds:.1f}",
                _format_number(startup.loaded_mb),
                _format_number(peak),
                startup.device,
            )
        )
    columns = ("model", "on disk, MB", "load, s", "start, s", "loaded, MB", "peak, MB", "device")
    return Table(title="Files and processes", columns=columns, rows=tuple(rows))


def _build_cells_table(result: BenchResult, beams: int) -> Table:
    cells = sorted((cell for cell in result.cells if cell.beams == beams), key=lambda cell: cell.batch_size)
    rows = [
        (
            display_name(cell.variant, result.precision),
            str(cell.batch_size),
            _format_number(cell.samples_per_second),
            f"{cell.ratio:.2f}" if cell.ratio is not None else "–",
            _format_number(cell.p50_ms),
            _format_number(cell.p95_ms),
            str(cell.batches),
            f"{cell.tokens_per_sample:.1f}",
            _format_number(cell.peak_mb),
            str(cell.threads or "–"),
        )
        for cell in cells
    ]
    columns = (
        "model", "batch", "samples/s", "times torch fp32", "p50, ms", "p95, ms", "batches", "tokens per summary",
        "peak, MB", "threads",
    )  # fmt: skip
    return Table(title=f"{beams} {'beam' if beams == 1 else 'beams'}", columns=columns, rows=tuple(rows))


def _build_rounds_table(result: BenchResult) -> Table:
    rows = tuple(
        (display_name(name, result.precision), *(_format_number(speed) for speed in speeds))
        for name, speeds in result.rounds.items()
    )
    columns = ("samples/s in round", *(str(number) for number in range(1, len(rows[0]))))
    return Table(title="Rounds at the serving batch size", columns=columns, rows=rows)


def _build_search_table(search: BatchSizeSearch) -> Table:
    rows = tuple(
        (str(trial.batch_size), _format_number(trial.samples_per_second), _format_number(trial.peak_mb), trial.verdict)
        for trial in search.tried
    )
    return Table(title="Batch sizes tried", columns=("batch", "samples/s", "peak, MB", "verdict"), rows=rows)


def _build_rouge_table(quality: Quality) -> Table:
    rows = []
    for metric, comparison in quality.metrics.items():
        gain = Interval(mean=comparison.difference, low=comparison.low, high=comparison.high, n=comparison.n)
        rows.append(
            (
                METRIC_LABELS[metric],
                format_score(comparison.exported),
                format_score(comparison.fp32),
                format_signed(gain),
                format_signed_interval(gain),
                format_p_value(comparison.p_value),
            )
        )
    columns = ("metric", "exported", "fp32", "difference", "interval", "p")
    return Table(title="Exported model and fp32", columns=columns, rows=tuple(rows))


def _build_float_tables(operators: FloatOperators) -> list[Table]:
    total = sum(operators.bytes_by_type.values()) or 1
    types = tuple(
        (NUMBER_TYPES.get(name, name), _format_number(size / 1e6, 3), f"{100 * size / total:.1f}%")
        for name, size in operators.bytes_by_type.items()
    )
    by_operator = tuple((name, _format_number(size / 1e6, 3)) for name, size in operators.float_bytes_by_op.items())
    return [
        Table(title="Weights by type", columns=("numbers", "MB", "share"), rows=types),
        Table(title="Float weights by operator", columns=("operator", "MB"), rows=by_operator),
    ]


def _format_number(value: float | None, digits: int = 1) -> str:
    """Format with ``digits`` decimals below 100 and none from there on; None becomes a dash."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.{digits}f}"
