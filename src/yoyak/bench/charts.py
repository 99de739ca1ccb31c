"""The charts of the bench's page, in the look of the report's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from yoyak.bench.variants import EXPORTED, NAMES, title
from yoyak.reporting.layout import add_legend
from yoyak.reporting.palette import Palette, series_marker
from yoyak.reporting.svg import Chart, render_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORDER = (EXPORTED, *NAMES)
"""Each variant has its colour and marker, whichever are measured."""


def draw(figures: Mapping[str, Any]) -> dict[str, Chart]:
    """Return a chart of latency and throughput for each number of beams, and that of the search."""
    beams = dict.fromkeys(row["beams"] for row in figures["cells"])
    charts = [_frontier(figures, count) for count in beams]
    charts.append(_search(figures["search"]))
    return {chart.name: chart for chart in charts}


def series(variant: str) -> int:
    """Return a variant's place in the palette."""
    return ORDER.index(variant)


def _frontier(figures: Mapping[str, Any], beams: int) -> Chart:
    """A line for each variant through its batch sizes: higher is more per second, further left is less latency."""
    rows = [row for row in figures["cells"] if row["beams"] == beams]
    lines = {name: [row for row in rows if row["variant"] == name] for name in ORDER}
    lines = {name: cells for name, cells in lines.items() if cells}
    titles = {name: title(name, figures["precision"]) for name in lines}

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(4.1, 3.2))
        axes = figure.subplots()
        for name, cells in reversed(lines.items()):
            axes.plot(
                [row["p50_ms"] for row in cells],
                [row["samples_per_second"] for row in cells],
                color=palette.series_colour(series(name)),
                marker=series_marker(series(name)),
                markersize=5 if name == EXPORTED else 4,
                linewidth=2 if name == EXPORTED else 1.3,
                label=titles[name],
            )
        for row in lines[EXPORTED]:
            _label(axes, f"batch {row['batch_size']}", row["p50_ms"], row["samples_per_second"])
        _logarithmic(axes, [row["p50_ms"] for row in rows])
        axes.set_ylim(0, 1.15 * max(row["samples_per_second"] for row in rows))
        axes.set_xlabel("median latency of a batch, ms (log scale)")
        axes.set_ylabel("samples/s")
        add_legend(figure, axes, left=0.62, reverse=True)
        return figure

    many = f"{beams} {'beam' if beams == 1 else 'beams'}"
    best = {name: max(cells, key=lambda row: row["samples_per_second"]) for name, cells in lines.items()}
    text = f"samples per second over the latency of a batch with {many}; the most: " + "; ".join(
        f"{titles[name]} {row['samples_per_second']:.1f} at batch {row['batch_size']}" for name, row in best.items()
    )
    return render_chart(f"frontier_{beams}", f"Latency and throughput, {many}", text, draw)


def _search(search: Mapping[str, Any]) -> Chart:
    """Speed and memory of each batch size that was tried, with the chosen one marked."""
    tried = [one for one in search["tried"] if one["samples_per_second"]]
    chosen = next((one for one in tried if one["batch_size"] == search["batch_size"]), None)

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(4.6, 3.4))
        speed, memory = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        for axes, key, name in ((speed, "samples_per_second", "samples/s"), (memory, "peak_mb", "peak MB")):
            sizes, values = [one["batch_size"] for one in tried], [one[key] for one in tried]
            axes.plot(sizes, values, color=palette.series[0], marker="o", markersize=4, linewidth=1.5)
            if chosen:
                axes.plot(chosen["batch_size"], chosen[key], "o", color=palette.series[0], markersize=8)
            axes.set_ylim(0, 1.25 * max(values))
            axes.set_ylabel(name)
        memory.set_xscale("log", base=2)
        memory.set_xticks([one["batch_size"] for one in tried], [f"{one['batch_size']}" for one in tried])
        memory.xaxis.set_minor_locator(NullLocator())
        memory.set_xlabel("batch size (log scale)")
        if chosen:
            _label(speed, f"chosen: {chosen['batch_size']}", chosen["batch_size"], chosen["samples_per_second"])
        figure.align_ylabels()
        figure.subplots_adjust(left=0.62 / 4.6, right=0.97, top=0.98, bottom=0.5 / 3.4, hspace=0.12)
        return figure

    text = "samples per second and peak memory by batch size: " + "; ".join(
        f"{one['batch_size']}: {one['samples_per_second']:.1f}/s, {one['peak_mb']:.0f} MB" for one in tried
    )
    return render_chart("search", "Batch size to serve with", text, draw)


def _label(axes: Axes, text: str, x: float, y: float) -> None:
    axes.annotate(text, (x, y), (-4, 6), textcoords="offset points", ha="right", fontsize=8.5)


def _logarithmic(axes: Axes, values: Sequence[float]) -> None:
    low, high = min(values), max(values)
    axes.set_xscale("log")
    axes.set_xlim(low / 2.5, high * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
