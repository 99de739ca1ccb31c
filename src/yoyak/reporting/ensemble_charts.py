"""The charts of evaluation/ensembles.json: what members add, how they agree, where ensembles gain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

from yoyak.reporting.charts import INK, MARKERS, MUTED, RC, SERIES, VARIABLES, cells, frame
from yoyak.reporting.svg import Chart, to_chart

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN = 8
"""Members, and strategies, that a chart holds: the best on dev; the JSON has all."""
TINT = 0.55
"""Opacity of a cell of full agreement: figures stay readable on it in light and in dark."""

Colours = Mapping[str, int]
"""Place in the palette of a member or strategy; what has none is grey."""


def draw(
    analysis: Mapping[str, Any], split: str = "", slice_: str = "all", colours: Colours | None = None
) -> dict[str, Chart]:
    """Return the charts of a part by name, by default of the test split; those that it has no data for are left out.

    ``colours`` are by default dealt out to the members and strategies in their order.
    """
    split = split or next((name for name in ("test", *analysis["splits"]) if name in analysis["splits"]), "")
    if colours is None:
        colours = {name: place for place, name in enumerate([*analysis["members"], *analysis["strategies"]][:SHOWN])}
    part = analysis["splits"][split][slice_]
    if not analysis["strategies"]:
        return {}
    label = split if slice_ == "all" else f"{split}, {slice_}"
    metric = f"{analysis['primary']['granularity']} {analysis['primary']['metric']}"
    shown = [name for name in analysis["strategies"] if _changes(part["strategies"][name])][:SHOWN]
    charts = [_contributions(part, shown, metric, label, colours)] if shown else []
    if len(analysis["members"]) > 1:
        charts.append(_agreement(part, analysis["members"][:SHOWN], metric, label))
    charts.append(_lengths(part, list(analysis["strategies"])[:SHOWN], metric, label, analysis["best_member"], colours))
    return {chart.name: chart for chart in charts}


def _changes(strategy: Mapping[str, Any]) -> dict[str, Any]:
    """Return what each member adds: of many, those with the largest changes."""
    found = {name: entry["change"] for name, entry in strategy["contributions"].items() if entry["change"]}
    largest = sorted(found, key=lambda name: -abs(found[name]["difference"]))[:SHOWN]
    return {name: change for name, change in found.items() if name in largest}


def _contributions(part: Mapping[str, Any], shown: list[str], metric: str, label: str, colours: Colours) -> Chart:
    """A bar with its interval for each member, in a block for each strategy."""
    blocks = [(name, _changes(part["strategies"][name])) for name in shown]
    lines = sum(len(changes) + 1.4 for _, changes in blocks)
    left = 0.2 + 0.075 * max(cells(member) for _, changes in blocks for member in changes)
    with mpl.rc_context(RC):
        figure = Figure(figsize=(5, 0.5 + 0.21 * lines))
        axes = figure.subplots()
        y, ticks = 0.0, []
        for name, changes in blocks:
            axes.annotate(name, (0, y), xycoords=("axes fraction", "data"), va="center", color=INK, weight="bold")
            for member, change in changes.items():
                y -= 1
                colour = SERIES[colours[member]] if member in colours else MUTED
                axes.barh(y, change["difference"], height=0.62, color=colour, alpha=0.75)
                axes.plot([change["low"], change["high"]], [y, y], color=INK, linewidth=1.1)
                ticks.append((y, member))
            y -= 1.4
        axes.axvline(0, color=MUTED, linewidth=0.8)
        axes.set_yticks([place for place, _ in ticks], [member for _, member in ticks])
        axes.grid(visible=False, axis="y")
        axes.set_ylim(y + 0.8, 0.7)
        axes.set_xlabel("score with all members less score without this one")
        _place(figure, axes, left=left, bottom=0.5)
        text = f"change of {metric} on {label} by each member: " + "; ".join(
            f"{name}: " + ", ".join(f"{member} {change['difference']:+.3f}" for member, change in changes.items())
            for name, changes in blocks
        )
        return to_chart(figure, VARIABLES, "contributions", "What each member adds", text)


def _agreement(part: Mapping[str, Any], members: list[str], metric: str, label: str) -> Chart:
    """A cell for every two members: the ROUGE of their own summaries."""
    matrix = part["agreement"]["rouge"]
    left = 0.2 + 0.075 * max(map(cells, members))
    with mpl.rc_context(RC):
        count = len(members) - 1
        figure = Figure(figsize=(5, 0.35 + 0.36 * count))
        axes = figure.subplots()
        for row in range(1, len(members)):
            for column in range(row):
                value = matrix[row][column]
                axes.add_patch(_cell(column, row - 1, value))
                axes.text(column, row - 1, f"{value:.2f}", ha="center", va="center", color=INK, fontsize=9)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_xticks(range(count), members[:-1])
        axes.set_yticks(range(count), members[1:])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        _place(figure, axes, left=left, bottom=0.3)
        pairs = [(matrix[a][b], members[a], members[b]) for a in range(len(members)) for b in range(a)]
        most, least = max(pairs), min(pairs)
        text = f"{metric} between the members' summaries on {label}: most alike {most[2]} and {most[1]} ({most[0]:.3f})"
        if len(pairs) > 1:
            text += f", least {least[2]} and {least[1]} ({least[0]:.3f})"
        return to_chart(figure, VARIABLES, "agreement", "How alike the members' summaries are", text)


def _cell(x: int, y: int, value: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=SERIES[0], edgecolor="none", alpha=TINT * value)


def _lengths(part: Mapping[str, Any], shown: list[str], metric: str, label: str, best: str, colours: Colours) -> Chart:
    """Gain and interval of each strategy in dialogues of each length."""
    lengths = part["lengths"]
    bins = lengths["bins"]
    with mpl.rc_context(RC):
        figure = Figure(figsize=(5, 2.9))
        axes = figure.subplots()
        axes.axhline(0, color=MUTED, linewidth=0.8)
        for place, name in enumerate(shown):
            shift = (place - (len(shown) - 1) / 2) * min(0.12, 0.6 / len(shown))
            colour = SERIES[colours[name]] if name in colours else MUTED
            marker = MARKERS[colours[name]] if name in colours else "o"
            gains = [each["gains"][name] for each in bins]
            xs = [x + shift for x in range(len(bins))]
            for x, gain in zip(xs, gains, strict=True):
                axes.plot([x, x], [gain["low"], gain["high"]], color=colour, linewidth=1.2)
            means = [gain["difference"] for gain in gains]
            axes.plot(xs, means, color=colour, marker=marker, markersize=4.5, label=name)
        axes.set_xticks(range(len(bins)), [each["label"] for each in bins])
        for x, each in enumerate(bins):
            offset: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axes.annotate(f"n={each['n']:,}", (x, 0), (0, -26), ha="center", color=MUTED, fontsize=9, **offset)
        axes.grid(visible=False, axis="x")
        axes.set_xlim(-0.5, len(bins) - 0.5)
        axes.set_xlabel(f"{lengths['by']} in the dialogue", labelpad=16)
        frame(figure, axes, left=0.55, bottom=0.72)
        text = f"gain in {metric} over {best} on {label} by {lengths['by']} of the dialogue"
        return to_chart(figure, VARIABLES, "gain_length", f"Gain over {best} by dialogue length", text)


def _place(figure: Figure, axes: Axes, left: float, bottom: float) -> None:
    """Set margins in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left=left / width, right=1 - 0.1 / width, top=1 - 0.05 / height, bottom=bottom / height)
