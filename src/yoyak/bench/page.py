"""Writes what was measured as index.html (one file that loads nothing) and as report.md with its images."""

from __future__ import annotations

from pathlib import Path

from yoyak.bench import charts
from yoyak.bench.batch_size import MAX_BATCH_SIZE, MIN_SPEEDUP
from yoyak.bench.results import BatchSizeSearch, BenchResult, FloatOperators, Quality
from yoyak.bench.variants import EXPORTED, title
from yoyak.reporting import render
from yoyak.reporting.formats import format_p_value, format_score, format_signed, format_signed_interval
from yoyak.reporting.view import Table
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.metrics import METRIC_LABELS

HERE = Path(__file__).parent
NUMBER_TYPES = {"int8": "8-bit integers", "int4": "4-bit integers", "float": "float", "int64": "other"}


def write(result: BenchResult, out: Path) -> None:
    """Write the pages and images into the folder ``out``, which is created."""
    drawn = charts.draw(result)
    env = render.make_environment(HERE, render.HERE)
    values = {
        "result": result,
        "name": title(EXPORTED, result.precision),
        "verdict": verdict(result),
        "charts": drawn,
        "frontiers": [chart for name, chart in drawn.items() if name.startswith("frontier")],
        "cell_tables": [_cells(result, beams) for beams in result.beams],
        "rounds_table": _rounds(result),
        "variants_table": _variants(result),
        "search_table": _search(result.search),
        "rouge_table": _rouge(result.quality),
        "float_tables": _float_tables(result.float_operators),
        "min_speedup": f"{(MIN_SPEEDUP - 1) * 100:g}\u00a0%",
        "max_batch_size": MAX_BATCH_SIZE,
        "style": render.read_style(),
    }
    render.write_images(drawn, out)
    render.write_text_file(out / "index.html", env.get_template("page.html.j2").render(values))
    render.write_text_file(out / "report.md", env.get_template("page.md.j2").render(values))


def verdict(result: BenchResult) -> str:
    """Return the page's first sentence."""
    name = f"{title(EXPORTED, result.precision)} of {result.model}"
    if result.gate.passed:
        return f"{name} is the model to serve: it is faster than fp32 on this machine, and as good within the bound"
    reasons = []
    if not result.gate.speed.passed:
        reasons.append("it is not shown to be faster")
    if not result.gate.rouge.passed:
        reasons.append("it may lose more ROUGE than allowed")
    return f"fp32 stays the model to serve instead of {name}: {' and '.join(reasons)}"


def _variants(result: BenchResult) -> Table:
    rows = []
    for name, startup in result.variants.items():
        peak = max(cell.peak_mb for cell in result.cells if cell.variant == name)
        rows.append(
            (
                title(name, result.precision),
                _number(startup.disk_mb),
                f"{startup.load_seconds:.2f}",
                f"{startup.start_seconds:.1f}",
                _number(startup.loaded_mb),
                _number(peak),
                startup.device,
            )
        )
    columns = ("model", "on disk, MB", "loading, s", "with imports, s", "loaded, MB", "peak, MB", "device")
    return Table(title="Files and processes", columns=columns, rows=tuple(rows))


def _cells(result: BenchResult, beams: int) -> Table:
    cells = sorted((cell for cell in result.cells if cell.beams == beams), key=lambda cell: cell.batch_size)
    rows = [
        (
            title(cell.variant, result.precision),
            str(cell.batch_size),
            _number(cell.samples_per_second),
            f"{cell.ratio:.2f}" if cell.ratio is not None else "–",
            _number(cell.p50_ms),
            _number(cell.p95_ms),
            str(cell.batches),
            f"{cell.tokens_per_sample:.1f}",
            _number(cell.peak_mb),
            str(cell.threads or "–"),
        )
        for cell in cells
    ]
    columns = (
        "model", "batch", "samples/s", "times torch fp32", "p50, ms", "p95, ms", "batches", "tokens each", "peak, MB",
        "threads",
    )  # fmt: skip
    return Table(title=f"{beams} {'beam' if beams == 1 else 'beams'}", columns=columns, rows=tuple(rows))


def _rounds(result: BenchResult) -> Table:
    rows = tuple(
        (title(name, result.precision), *(_number(speed) for speed in speeds)) for name, speeds in result.rounds.items()
    )
    columns = ("samples/s in round", *(str(number) for number in range(1, len(rows[0]))))
    return Table(title="Each round at the serving batch", columns=columns, rows=rows)


def _search(search: BatchSizeSearch) -> Table:
    rows = tuple(
        (str(tried.batch_size), _number(tried.samples_per_second), _number(tried.peak_mb), tried.verdict)
        for tried in search.tried
    )
    return Table(title="Batch sizes tried", columns=("batch", "samples/s", "peak, MB", "verdict"), rows=rows)


def _rouge(quality: Quality) -> Table:
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


def _float_tables(operators: FloatOperators) -> list[Table]:
    total = sum(operators.bytes_by_type.values()) or 1
    types = tuple(
        (NUMBER_TYPES.get(name, name), _number(size / 1e6, 3), f"{100 * size / total:.1f}\u00a0%")
        for name, size in operators.bytes_by_type.items()
    )
    by_operator = tuple((name, _number(size / 1e6, 3)) for name, size in operators.float_bytes_by_op.items())
    return [
        Table(title="Weights by type", columns=("numbers", "MB", "share"), rows=types),
        Table(title="Float weights by operator", columns=("operator", "MB"), rows=by_operator),
    ]


def _number(value: float | None, digits: int = 1) -> str:
    """Return a number with three digits or more; a dash for none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if value >= 100 else f"{value:,.{digits}f}"
