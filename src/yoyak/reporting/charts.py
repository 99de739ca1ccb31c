"""The charts, drawn by matplotlib. Texts are short and in English where they are ours; topics are as they come."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from yoyak.reporting.svg import Chart, to_chart
from yoyak.reporting.view import Curve, Grouping, System, View
from yoyak.scoring.bootstrap import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1c2127", "#59636e", "#dfe3e8"
SERIES = ("#0063a8", "#b8500a", "#11804f", "#9a4391", "#8a6d00", "#0f7f8c", "#c0354a", "#5b5fc7")
"""Told apart with the common kinds of colour blindness, and by marker: the colours are doubled by shape."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid"} | {
    colour: f"--series-{place}" for place, colour in enumerate(SERIES)
}
RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "svg.hashsalt": "yoyak",
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.linewidth": 0.8,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9.5,
    "legend.handlelength": 1.6,
    "legend.columnspacing": 1.2,
}
MARKS = 8
"""Markers along a curve."""
LOG_FROM = 5
"""A loss that falls by more than this factor is drawn on a logarithmic axis: its end would be a flat line."""
PANELS = 6
LABEL_CELLS = 26
"""Width of a topic's name in half-width characters; a longer one is cut."""


def draw(view: View) -> dict[str, Chart]:
    """Return the charts that the view has data for, by name; at most six."""
    charts = [_scores(view)]
    names = {"loss": "Training loss", "eval_loss": "Dev loss", "eval_combined": "Dev combined ROUGE"}
    for quantity, curves in view.curves.items():
        charts.append(_curve(quantity, names[quantity], curves, view.curves_by))
    for grouping in view.groupings:
        charts.append(_topics(view, grouping) if grouping.by == "topic" else _lengths(view, grouping))
    return {chart.name: chart for chart in charts}


def _scores(view: View) -> Chart:
    """Dots and whiskers of every system, a panel for each part."""
    systems = [system for system in view.systems if system.series is not None]
    systems += [system for system in view.systems if system.kind in ("baseline", "oracle")]
    parts = view.parts[:PANELS]
    metric = view.primary[2]
    with mpl.rc_context(RC):
        left = 0.2 + 0.075 * max(cells(system.name) for system in systems)
        figure = Figure(figsize=(left + 1.75 * len(parts), 0.75 + 0.26 * len(systems)))
        grid = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
        for axes, part in zip(grid, parts, strict=True):
            axes.set_title(f"{part.label} (n={part.n:,})", loc="left", fontsize=10)
            for place, system in enumerate(systems):
                score = view.score(system.name, part, metric)
                if score:
                    _whisker(axes, score, -place, system)
            axes.grid(visible=False, axis="y")
            axes.set_yticks([-place for place in range(len(systems))], [system.name for system in systems])
        grid[0].set_ylim(-len(systems) + 0.4, 0.6)
        grid[0].set_xlim(left=0)
        figure.subplots_adjust(
            left=left / figure.get_figwidth(),
            right=0.99,
            top=1 - 0.32 / figure.get_figheight(),
            bottom=0.3 / figure.get_figheight(),
            wspace=0.1,
        )
        best = view.score(view.best_member, view.headline, metric)
        text = f"{metric} score with its interval for {len(systems)} systems on {len(parts)} parts of the data"
        if best:
            text += f"; {view.best_member} reaches {best.mean:.3f} on {view.headline.label}"
        return to_chart(figure, VARIABLES, "scores", f"{metric} score by system".capitalize(), text)


def _whisker(axes: Axes, score: Interval, y: float, system: System) -> None:
    colour = MUTED if system.series is None else SERIES[system.series]
    marker = "o" if system.series is None else MARKERS[system.series]
    axes.plot([score.low, score.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
    axes.plot([score.mean], [y], marker, color=colour, markersize=5 if system.series is not None else 3.5)


def _curve(name: str, title: str, curves: Sequence[Curve], unit: str) -> Chart:
    with mpl.rc_context(RC):
        figure = Figure(figsize=(4.1, 3.0))
        axes = figure.subplots()
        for curve in curves:
            xs, ys = zip(*curve.points, strict=True)
            axes.plot(
                xs,
                ys,
                color=SERIES[curve.series],
                linewidth=1.5,
                marker=MARKERS[curve.series],
                markersize=4,
                markevery=max(1, len(xs) // MARKS),
                label=curve.member,
            )
        axes.set_xlabel(unit)
        axes.margins(x=0.02)
        axes.set_xlim(left=0)
        values = [value for curve in curves for _, value in curve.points]
        if name == "eval_combined":
            axes.set_ylim(bottom=0)
        elif 0 < min(values) < max(values) / LOG_FROM:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
            title += " (log scale)"
        frame(figure, axes, left=0.5)
        last = "; ".join(f"{curve.member} ends at {curve.points[-1][1]:.3f}" for curve in curves)
        return to_chart(figure, VARIABLES, name, title, f"{title} by {unit}: {last}")


def _lengths(view: View, grouping: Grouping) -> Chart:
    """Mean and interval of each model in each bin, the best baseline beside them."""
    groups = grouping.groups
    series = _series(view, grouping)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(5, 3.7))
        axes = figure.subplots()
        for place, (name, colour, marker) in enumerate(series):
            shift = (place - (len(series) - 1) / 2) * min(0.12, 0.6 / len(series))
            found = [(x, group.scores[name]) for x, group in enumerate(groups) if name in group.scores]
            xs = [x + shift for x, _ in found]
            for x, (_, score) in zip(xs, found, strict=True):
                axes.plot([x, x], [score.low, score.high], color=colour, linewidth=1.2)
            style = ":" if name == view.best_baseline else "-"
            means = [score.mean for _, score in found]
            axes.plot(xs, means, color=colour, marker=marker, markersize=4.5, linestyle=style, label=name)
        axes.set_xticks(range(len(groups)), [group.label for group in groups])
        for x, group in enumerate(groups):
            # A text of its own, because the lines of one text are not centred by the browser.
            offset: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(f"n={group.n:,}", (x, 0), (0, -26), ha="center", color=MUTED, fontsize=9, **offset)
        axes.grid(visible=False, axis="x")
        axes.set_xlabel(f"{grouping.by} in the dialogue", labelpad=16)
        axes.set_ylim(bottom=0)
        frame(figure, axes, left=0.4, bottom=0.72)
        text = f"{view.primary[2]} score on {view.headline.split} by {grouping.by} of the dialogue"
        return to_chart(figure, VARIABLES, "length", "Score by dialogue length", text)


def _topics(view: View, grouping: Grouping) -> Chart:
    """A row of dots for each topic, best first."""
    groups = grouping.groups
    series = _series(view, grouping)
    labels = [f"{_cut(group.label)} ({group.n:,})" for group in groups]
    left = 0.15 + 0.078 * max(map(cells, labels))
    with mpl.rc_context(RC):
        figure = Figure(figsize=(5, 0.45 + 0.225 * len(groups)))
        axes = figure.subplots()
        for place, group in enumerate(groups):
            means = [score.mean for score in group.scores.values()]
            axes.plot([min(means), max(means)], [-place, -place], color=GRID, linewidth=2, zorder=1)
        for name, colour, marker in reversed(series):
            found = [(group.scores[name].mean, -place) for place, group in enumerate(groups) if name in group.scores]
            xs, ys = zip(*found, strict=True) if found else ((), ())
            hollow = "none" if name == view.best_baseline else "full"
            axes.plot(xs, ys, marker, color=colour, markersize=5, fillstyle=hollow, label=name)
        axes.set_yticks([-place for place in range(len(groups))], labels, color=INK)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_ylim(-len(groups) + 0.4, 0.6)
        frame(figure, axes, left=left, bottom=0.3, reverse=True)
        text = f"{view.primary[2]} score on {view.headline.split} by topic, {labels[0]} first, {labels[-1]} last"
        return to_chart(figure, VARIABLES, "topic", "Score by topic", text)


def _series(view: View, grouping: Grouping) -> list[tuple[str, str, str]]:
    """Return name, colour and marker of what the groups compare, in the order of colour, and of the best baseline."""
    models = sorted(
        (system.series, system.name)
        for system in view.systems
        if system.series is not None and any(system.name in group.scores for group in grouping.groups)
    )
    return [*((name, SERIES[place], MARKERS[place]) for place, name in models), (view.best_baseline, MUTED, "o")]


def frame(figure: Figure, axes: Axes, left: float, bottom: float = 0.5, reverse: bool = False) -> None:
    """Set margins in inches, and a legend above the axes that wraps to as many lines as it needs."""
    handles, labels = axes.get_legend_handles_labels()
    if reverse:
        handles, labels = handles[::-1], labels[::-1]
    width, height = figure.get_size_inches()
    columns = max(1, min(len(labels), int(width / (0.45 + 0.08 * max(map(cells, labels), default=1)))))
    lines = -(-len(labels) // columns)
    top = 0.1 + 0.2 * lines
    figure.set_size_inches(width, height + top)
    height += top
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0,
        handletextpad=0.5,
    )
    figure.subplots_adjust(
        left=left / width, right=1 - 0.1 / width, top=1 - (top + 0.06) / height, bottom=bottom / height
    )


def cells(text: str) -> int:
    """Return the width of a text in half-width characters."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _cut(text: str) -> str:
    """Return a text on one line that is at most `LABEL_CELLS` wide."""
    text = " ".join(text.split())
    while cells(text) > LABEL_CELLS:
        text = text[:-2] + "…"
    return text
