"""The charts of ensembles: what members add, how similar their summaries are, and where ensembles gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from yoyak.reporting.layout import add_legend, label_bins, set_margins, shift_in_bin, text_width
from yoyak.reporting.palette import Palette, series_marker
from yoyak.reporting.svg import Chart, render_chart
from yoyak.scoring.bootstrap import Comparison
from yoyak.scoring.ensembles import EnsembleAnalysis, PartAnalysis, StrategyResult
from yoyak.scoring.results import ALL

MAX_SERIES = 8
"""Members or strategies in a chart: the best on dev. evaluation/ensembles.json lists all."""
ALPHA = 0.55
"""Opacity of a cell of full agreement, low enough for text to be legible on it in both colour schemes."""

Series = Mapping[str, int]
"""Series by member or strategy; those without one are grey."""


def draw_charts(
    analysis: EnsembleAnalysis, split: str = "", slice_: str = ALL, series: Series | None = None
) -> dict[str, Chart]:
    """Return the charts of a part that have data, by name; the default part is the test split.

    By default, ``series`` are assigned to the members and strategies in their order.
    """
    if not analysis.strategies:
        return {}
    split = split or next(name for name in ("test", *analysis.splits) if name in analysis.splits)
    if series is None:
        names = [*analysis.members, *analysis.strategies][:MAX_SERIES]
        series = {name: index for index, name in enumerate(names)}
    part = analysis.splits[split][slice_]
    label = split if slice_ == ALL else f"{split}, {slice_}"
    metric = f"{analysis.primary.granularity} {analysis.primary.metric}"
    charts = []
    changes = {name: _find_largest_changes(part.strategies[name]) for name in analysis.strategies}
    changes = dict([(name, change) for name, change in changes.items() if change][:MAX_SERIES])
    if changes:
        charts.append(_draw_contributions(changes, metric, label, series))
    if len(analysis.members) > 1:
        charts.append(_draw_agreement(part, analysis.members[:MAX_SERIES], metric, label))
    names = list(analysis.strategies)[:MAX_SERIES]
    charts.append(_draw_lengths(part, names, metric, label, analysis.best_member, series))
    return {chart.name: chart for chart in charts}


def _find_largest_changes(result: StrategyResult) -> dict[str, Comparison]:
    """Return what each member adds; of many members, those that change most."""
    changes = {member: row.change for member, row in result.contributions.items() if row.change is not None}
    largest = sorted(changes, key=lambda member: -abs(changes[member].difference))[:MAX_SERIES]
    return {member: change for member, change in changes.items() if member in largest}


def _draw_contributions(
    changes: Mapping[str, Mapping[str, Comparison]], metric: str, label: str, series: Series
) -> Chart:
    """Draw a bar with its interval for each member, in a block for each strategy."""

    def draw(palette: Palette) -> Figure:
        lines = sum(len(by_member) + 1.4 for by_member in changes.values())
        figure = Figure(figsize=(5, 0.5 + 0.21 * lines))
        axes = figure.subplots()
        y, ticks = 0.0, {}
        for name, by_member in changes.items():
            axes.annotate(name, (0, y), xycoords=("axes fraction", "data"), va="center", weight="bold")
            for member, change in by_member.items():
                y -= 1
                colour = palette.series_colour(series.get(member))
                axes.barh(y, change.difference, height=0.62, color=colour, alpha=0.75)
                axes.plot([change.low, change.high], [y, y], color=palette.ink, linewidth=1.1)
                ticks[y] = member
            y -= 1.4
        axes.axvline(0, color=palette.muted, linewidth=0.8)
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.grid(visible=False, axis="y")
        axes.set_ylim(y + 0.8, 0.7)
        axes.set_xlabel("score with all members minus score without this one")
        longest = max(text_width(member) for by_member in changes.values() for member in by_member)
        set_margins(figure, left=0.2 + 0.075 * longest, bottom=0.5)
        return figure

    text = f"change of {metric} on {label} by each member: " + "; ".join(
        f"{name}: " + ", ".join(f"{member} {change.difference:+.3f}" for member, change in by_member.items())
        for name, by_member in changes.items()
    )
    return render_chart("contributions", "What each member adds", text, draw)


def _draw_agreement(part: PartAnalysis, members: Sequence[str], metric: str, label: str) -> Chart:
    """Draw a cell for each pair of members: the ROUGE between their summaries."""
    matrix = part.agreement.rouge
    count = len(members) - 1

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(5, 0.35 + 0.36 * count))
        axes = figure.subplots()
        for row in range(1, len(members)):
            for column in range(row):
                value = matrix[row][column]
                corner = (column - 0.48, row - 1 - 0.46)
                axes.add_patch(
                    Rectangle(corner, 0.96, 0.92, facecolor=palette.series[0], edgecolor="none", alpha=ALPHA * value)
                )
                axes.text(column, row - 1, f"{value:.2f}", ha="center", va="center", fontsize=9)
        axes.set_xlim(-0.5, count - 0.5)
        axes.set_ylim(count - 0.5, -0.5)
        axes.set_xticks(range(count), members[:-1])
        axes.set_yticks(range(count), members[1:])
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines["bottom"].set_visible(False)
        set_margins(figure, left=0.2 + 0.075 * max(map(text_width, members)), bottom=0.3)
        return figure

    pairs = [(matrix[a][b], members[a], members[b]) for a in range(len(members)) for b in range(a)]
    most, least = max(pairs), min(pairs)
    text = f"{metric} between the members' summaries on {label}: most similar {most[2]} and {most[1]} ({most[0]:.3f})"
    if len(pairs) > 1:
        text += f", least {least[2]} and {least[1]} ({least[0]:.3f})"
    return render_chart("agreement", "Similarity of the members' summaries", text, draw)


def _draw_lengths(
    part: PartAnalysis, names: Sequence[str], metric: str, label: str, best: str, series: Series
) -> Chart:
    """Draw the gain and interval of each strategy by dialogue length."""
    lengths = part.lengths

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(5, 2.9))
        axes = figure.subplots()
        axes.axhline(0, color=palette.muted, linewidth=0.8)
        for index, name in enumerate(names):
            colour = palette.series_colour(series.get(name))
            gains = {x + shift_in_bin(index, len(names)): group.gains[name] for x, group in enumerate(lengths.bins)}
            for x, gain in gains.items():
                axes.plot([x, x], [gain.low, gain.high], color=colour, linewidth=1.2)
            axes.plot(
                list(gains),
                [gain.difference for gain in gains.values()],
                color=colour,
                marker=series_marker(series.get(name)),
                markersize=4.5,
                label=name,
            )
        label_bins(axes, [(group.label, group.n) for group in lengths.bins], f"{lengths.by} in the dialogue", palette)
        add_legend(figure, axes, left=0.55, bottom=0.72)
        return figure

    text = f"gain in {metric} over {best} on {label} by {lengths.by} of the dialogue"
    return render_chart("gain_length", f"Gain over {best} by dialogue length", text, draw)
