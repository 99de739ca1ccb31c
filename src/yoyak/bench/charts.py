"""The charts of the bench's page, in the style of the report's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from yoyak.bench.results import BatchSizeSearch, BenchResult, Cell
from yoyak.bench.variants import EXPORTED, NAMES, display_name
from yoyak.reporting.layout import add_legend
from yoyak.reporting.palette import Palette, series_marker
from yoyak.reporting.svg import Chart, render_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = (EXPORTED, *NAMES)
"""Fixes each variant's colour and marker, whichever variants are measured."""


def draw_charts(result: BenchResult) -> dict[str, Chart]:
    """Return the charts by name: latency and throughput for each number of beams, and the batch size search."""
    charts = [_draw_frontier(result, beams) for beams in result.beams]
    charts.append(_draw_search(result.search))
    return {chart.name: chart for chart in charts}


def _draw_frontier(result: BenchResult, beams: int) -> Chart:
    """Draw one line per variant through its batch sizes: throughput over latency."""
    cells = [cell for cell in result.cells if cell.beams == beams]
    lines = {name: [cell for cell in cells if cell.variant == name] for name in ORDER}
    lines = {name: line for name, line in lines.items() if line}
    titles = {name: display_name(name, result.precision) for name in lines}

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(4.1, 3.2))
        axes = figure.subplots()
        for name, line in reversed(lines.items()):
            index = ORDER.index(name)
            axes.plot(
                [cell.p50_ms for cell in line],
                [cell.samples_per_second for cell in line],
                color=palette.series_colour(index),
                marker=series_marker(index),
                markersize=5 if name == EXPORTED else 4,
                linewidth=2 if name == EXPORTED else 1.3,
                label=titles[name],
            )
        for cell in lines[EXPORTED]:
            _label(axes, f"batch {cell.batch_size}", cell.p50_ms, cell.samples_per_second)
        _set_log_scale(axes, [cell.p50_ms for cell in cells])
        axes.set_ylim(0, 1.15 * max(cell.samples_per_second for cell in cells))
        axes.set_xlabel("median latency of a batch, ms (log scale)")
        axes.set_ylabel("samples/s")
        add_legend(figure, axes, left=0.62, reverse=True)
        return figure

    beams_text = f"{beams} {'beam' if beams == 1 else 'beams'}"
    text = f"samples per second over the latency of a batch with {beams_text}; highest: " + "; ".join(
        _describe_fastest(line, titles[name]) for name, line in lines.items()
    )
    return render_chart(f"frontier_{beams}", f"Throughput over latency, {beams_text}", text, draw)


def _describe_fastest(cells: Sequence[Cell], name: str) -> str:
    fastest = max(cells, key=lambda cell: cell.samples_per_second)
    return f"{name} {fastest.samples_per_second:.1f} at batch {fastest.batch_size}"


def _draw_search(search: BatchSizeSearch) -> Chart:
    """Draw speed and memory of each batch size that was tried, with the chosen one marked."""
    sizes, speeds, peaks = [], [], []
    for result in search.tried:
        if result.samples_per_second and result.peak_mb:
            sizes.append(result.batch_size)
            speeds.append(result.samples_per_second)
            peaks.append(result.peak_mb)
    chosen = sizes.index(search.batch_size) if search.batch_size in sizes else None

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(4.6, 3.4))
        speed_axes, memory_axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for axes, values, label in ((speed_axes, speeds, "samples/s"), (memory_axes, peaks, "peak MB")):
            axes.plot(sizes, values, color=palette.series[0], marker="o", markersize=4, linewidth=1.5)
            if chosen is not None:
                axes.plot(sizes[chosen], values[chosen], "o", color=palette.series[0], markersize=8)
            axes.set_ylim(0, 1.25 * max(values))
            axes.set_ylabel(label)
        memory_axes.set_xscale("log", base=2)
        memory_axes.set_xticks(sizes, [f"{size}" for size in sizes])
        memory_axes.xaxis.set_minor_locator(NullLocator())
        memory_axes.set_xlabel("batch size (log scale)")
        if chosen is not None:
            _label(speed_axes, f"chosen: {sizes[chosen]}", sizes[chosen], speeds[chosen])
        figure.align_ylabels()
        figure.subplots_adjust(left=0.62 / 4.6, right=0.97, top=0.98, bottom=0.5 / 3.4, hspace=0.12)
        return figure

    text = "samples per second and peak memory by batch size: " + "; ".join(
        f"{size}: {speed:.1f}/s, {peak:.0f} MB" for size, speed, peak in zip(sizes, speeds, peaks, strict=True)
    )
    return render_chart("search", "Batch size to serve with", text, draw)


def _label(axes: Axes, text: str, x: float, y: float) -> None:
    axes.annotate(text, (x, y), (-4, 6), textcoords="offset points", ha="right", fontsize=8.5)


def _set_log_scale(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    axes.set_xscale("log")
    axes.set_xlim(low / 2.5, high * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
