"""The report's charts of scores, training, lengths and topics. Text is in English, except for topics from the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator

from yoyak.reporting.formats import format_gain
from yoyak.reporting.layout import add_legend, label_bins, set_margins, shift_in_bin, shorten, text_width
from yoyak.reporting.origin import draw_picture
from yoyak.reporting.palette import Palette, series_marker
from yoyak.reporting.svg import Chart, render_chart
from yoyak.reporting.view import Curve, Group, Grouping, Interval, System, View
from yoyak.tracking.decisions import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_MARKERS = 8
"""Markers on a curve, at most about this many."""
MIN_LOG_RATIO = 5
"""A loss that falls by more than this factor gets a logarithmic axis: on a linear one, the end would look flat."""
MAX_PANELS = 6
MAX_LABEL_WIDTH = 26
"""Width of a topic's name in half-width characters; longer names are truncated."""
TITLES = {"loss": "Training loss", "eval_loss": "{} loss", "eval_combined": "{} combined ROUGE"}
"""With what the trainings were evaluated on."""


def draw_charts(view: View) -> dict[str, Chart]:
    """Return the charts that the view has data for, by name."""
    charts = [_draw_scores(view)]
    for quantity, curves in view.curves.items():
        charts.append(_draw_curves(quantity, curves, view.curves_by, view.evaluated_on))
    for grouping in view.groupings:
        charts.append(_draw_topics(view, grouping) if grouping.by == "topic" else _draw_lengths(view, grouping))
    verdict = view.promotion.verdict if view.promotion else None
    if view.promotion and verdict and verdict.gain is not None:
        charts.append(_draw_gain(verdict, view.promotion.min_gain))
    if view.picture:
        charts.append(draw_picture(view.picture))
    return {chart.name: chart for chart in charts}


def _draw_scores(view: View) -> Chart:
    """Draw a dot with a whisker for each system, in a panel for each part of the data."""
    systems = [system for system in view.systems if system.series is not None]
    systems += view.baselines
    parts = view.parts[:MAX_PANELS]
    metric = view.primary.metric

    def draw(palette: Palette) -> Figure:
        left = 0.2 + 0.075 * max(text_width(system.name) for system in systems)
        figure = Figure(figsize=(left + 1.75 * len(parts), 0.75 + 0.26 * len(systems)))
        panels = figure.subplots(1, len(parts), sharex=True, sharey=True, squeeze=False)[0]
        for axes, part in zip(panels, parts, strict=True):
            axes.set_title(f"{part.label} (n={part.n:,})", loc="left", fontsize=10)
            for row, system in enumerate(systems):
                score = view.score(system.name, part, metric)
                if score:
                    _draw_whisker(axes, score, -row, system, palette)
            axes.grid(visible=False, axis="y")
            axes.set_yticks([-row for row in range(len(systems))], [system.name for system in systems])
        panels[0].set_ylim(-len(systems) + 0.4, 0.6)
        panels[0].set_xlim(left=0)
        width, height = figure.get_size_inches()
        figure.subplots_adjust(left=left / width, right=0.99, top=1 - 0.32 / height, bottom=0.3 / height, wspace=0.1)
        return figure

    text = f"{metric} score and interval of {len(systems)} systems on {len(parts)} parts of the data"
    best = view.score(view.best_member, view.headline, metric)
    if best:
        text += f"; {view.best_member} reaches {best.mean:.3f} on {view.headline.label}"
    return render_chart("scores", f"{metric} score by system".capitalize(), text, draw)


def _draw_whisker(axes: Axes, score: Interval, y: float, system: System, palette: Palette) -> None:
    colour = palette.series_colour(system.series)
    size = 5 if system.series is not None else 3.5
    axes.plot([score.low, score.high], [y, y], color=colour, linewidth=1.6, solid_capstyle="round")
    axes.plot([score.mean], [y], series_marker(system.series), color=colour, markersize=size)


def _draw_curves(quantity: str, curves: Sequence[Curve], unit: str, evaluated_on: str) -> Chart:
    """Draw a line for each member over the course of its training."""
    values = [value for curve in curves for _, value in curve.points]
    logarithmic = quantity != "eval_combined" and 0 < min(values) < max(values) / MIN_LOG_RATIO

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(4.1, 3.0))
        axes = figure.subplots()
        for curve in curves:
            xs, ys = zip(*curve.points, strict=True)
            axes.plot(
                xs,
                ys,
                color=palette.series_colour(curve.series),
                linewidth=1.5,
                marker=series_marker(curve.series),
                markersize=4,
                markevery=max(1, len(xs) // MAX_MARKERS),
                label=curve.member,
            )
        axes.set_xlabel(unit)
        axes.margins(x=0.02)
        axes.set_xlim(left=0)
        if quantity == "eval_combined":
            axes.set_ylim(bottom=0)
        elif logarithmic:
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
        add_legend(figure, axes, left=0.5)
        return figure

    title = TITLES[quantity].format(evaluated_on.capitalize()) + (" (log scale)" if logarithmic else "")
    last = "; ".join(f"{curve.member} ends at {curve.points[-1][1]:.3f}" for curve in curves)
    return render_chart(quantity, title, f"{title} by {unit}: {last}", draw)


def _draw_lengths(view: View, grouping: Grouping) -> Chart:
    """Draw the mean and interval of each model and of the best baseline in each bin."""
    groups = grouping.groups
    systems = _list_compared_systems(view, groups)

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(5, 3.7))
        axes = figure.subplots()
        for index, (name, series) in enumerate(systems):
            shift = shift_in_bin(index, len(systems))
            colour = palette.series_colour(series)
            scores = {x + shift: group.scores[name] for x, group in enumerate(groups) if name in group.scores}
            for x, score in scores.items():
                axes.plot([x, x], [score.low, score.high], color=colour, linewidth=1.2)
            axes.plot(
                list(scores),
                [score.mean for score in scores.values()],
                color=colour,
                marker=series_marker(series),
                markersize=4.5,
                linestyle=":" if name == view.best_baseline else "-",
                label=name,
            )
        label_bins(axes, [(group.label, group.n) for group in groups], f"{grouping.by} in the dialogue", palette)
        axes.set_ylim(bottom=0)
        add_legend(figure, axes, left=0.4, bottom=0.72)
        return figure

    text = f"{view.primary.metric} score on {view.headline.split} by {grouping.by} of the dialogue"
    return render_chart("length", "Score by dialogue length", text, draw)


def _draw_topics(view: View, grouping: Grouping) -> Chart:
    """Draw a row of dots for each topic, best first."""
    groups = grouping.groups
    systems = _list_compared_systems(view, groups)
    labels = [f"{shorten(group.label, MAX_LABEL_WIDTH)} ({group.n:,})" for group in groups]

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(5, 0.45 + 0.225 * len(groups)))
        axes = figure.subplots()
        for row, group in enumerate(groups):
            means = [score.mean for score in group.scores.values()]
            axes.plot([min(means), max(means)], [-row, -row], color=palette.grid, linewidth=2, zorder=1)
        for name, series in reversed(systems):
            rows = [row for row, group in enumerate(groups) if name in group.scores]
            axes.plot(
                [groups[row].scores[name].mean for row in rows],
                [-row for row in rows],
                series_marker(series),
                color=palette.series_colour(series),
                markersize=5,
                fillstyle="none" if name == view.best_baseline else "full",
                label=name,
            )
        axes.set_yticks([-row for row in range(len(groups))], labels, color=palette.ink)
        axes.grid(visible=False, axis="y")
        axes.set_xlim(left=0)
        axes.set_ylim(-len(groups) + 0.4, 0.6)
        add_legend(figure, axes, left=0.15 + 0.078 * max(map(text_width, labels)), bottom=0.3, reverse=True)
        return figure

    text = f"{view.primary.metric} score on {view.headline.split} by topic, {labels[0]} first, {labels[-1]} last"
    return render_chart("topic", "Score by topic", text, draw)


def _draw_gain(verdict: Verdict, min_gain: float) -> Chart:
    """Draw the challenger's gain over the champion as a dot with a whisker, and the gain that is required."""
    gain, low, high = verdict.gain or 0.0, verdict.low or 0.0, verdict.high or 0.0

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(4.1, 1.25))
        axes = figure.subplots()
        colour = palette.series_colour(0)
        axes.axvline(0, color=palette.muted, linewidth=1)
        axes.axvline(min_gain, color=palette.series_colour(1), linewidth=1.4, linestyle="--")
        axes.plot([low, high], [0, 0], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot([gain], [0], series_marker(0), color=colour, markersize=7)
        axes.annotate(
            f"required: {min_gain:g}",
            (min_gain, 1),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=9,
            color=palette.series_colour(1),
        )
        axes.set_ylim(-1, 1)
        axes.set_yticks([])
        # Both marks stay in sight, with room for the label of the one that is required.
        ends = [low, high, 0.0, min_gain]
        margin = 0.2 * (max(ends) - min(ends))
        axes.set_xlim(min(ends) - margin, max(ends) + margin)
        axes.xaxis.set_major_locator(MaxNLocator(5, prune="both"))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:+.3g}".replace("-", "−") if x else "0")
        axes.set_xlabel("gain in combined ROUGE on the gate split")
        set_margins(figure, left=0.1, bottom=0.5, top=0.25)
        return figure

    text = (
        f"Gain of {format_gain(gain)} with the interval {format_gain(low)} to {format_gain(high)}; "
        f"{min_gain:g} is required"
    )
    return render_chart("gain", f"Gain over the champion, version {verdict.champion}", text, draw)


def _list_compared_systems(view: View, groups: Sequence[Group]) -> list[tuple[str, int | None]]:
    """Return the name and series of each model in the groups, in the order of series; the best baseline comes last."""
    models = sorted(
        (system.series, system.name)
        for system in view.systems
        if system.series is not None and any(system.name in group.scores for group in groups)
    )
    return [*((name, series) for series, name in models), (view.best_baseline, None)]
