"""The report's plots, as SVG files: differences of scores, and training curves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from yoyak.files import write_text
from yoyak.reporting.layout import set_margins, text_width
from yoyak.reporting.palette import Palette
from yoyak.reporting.svg import Chart, render_chart
from yoyak.revisions.dialogues import COMBINED
from yoyak.revisions.results import Changes, ScoreChange
from yoyak.scoring.metrics import METRICS

MAX_SYSTEMS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """A plot that was written."""

    file: str
    """Its name in the folder of plots."""
    description: str
    """Alternative text."""


def write_plots(changes: Changes, folder: Path) -> list[Plot]:
    """Write the plots that there is something to draw for."""
    tested = [change for change in changes.scores if change.test and change.metric == METRICS[COMBINED]]
    charts = [_draw_differences(tested[:MAX_SYSTEMS])] if tested else []
    charts += [_draw_curve(member, *curves) for member, curves in changes.curves.items()]
    for chart in charts:
        write_text(folder / f"{chart.name}.svg", chart.light)
    return [Plot(file=f"{chart.name}.svg", description=chart.description) for chart in charts]


def _draw_differences(tested: list[ScoreChange]) -> Chart:
    """Draw a dot with a whisker for each system and split."""
    labels = [f"{change.system}, {change.split}" for change in tested]

    def draw(palette: Palette) -> Figure:
        left = 0.2 + 0.085 * max(map(text_width, labels))
        figure = Figure(figsize=(left + 3.6, 0.7 + 0.26 * len(tested)))
        axes = figure.subplots()
        axes.axvline(0, color=palette.muted, linewidth=1)
        for row, change in enumerate(tested):
            assert change.test is not None
            decided = change.verdict in ("better", "worse")
            colour = palette.series_colour({"better": 0, "worse": 1}[change.verdict] if decided else None)
            axes.plot([change.test.low, change.test.high], [-row, -row], color=colour, linewidth=1.6)
            axes.plot([change.test.difference], [-row], "o", color=colour, markersize=5)
        axes.set_yticks([-row for row in range(len(tested))], labels, color=palette.ink)
        axes.set_ylim(-len(tested) + 0.4, 0.6)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel("difference in combined ROUGE, now minus before")
        set_margins(figure, left=left, bottom=0.5)
        return figure

    worse = sum(change.verdict == "worse" for change in tested)
    better = sum(change.verdict == "better" for change in tested)
    text = f"Difference and interval of {len(tested)} scores: {better} significantly better, {worse} worse"
    return render_chart("differences", "Differences of the combined score", text, draw)


def _draw_curve(member: str, old: list[tuple[float, float]], new: list[tuple[float, float]]) -> Chart:
    """Draw how the dev score rose in training, before and now."""

    def draw(palette: Palette) -> Figure:
        figure = Figure(figsize=(4.1, 2.9))
        axes = figure.subplots()
        for points, name, style, series in ((old, "before", "--", None), (new, "now", "-", 0)):
            if points:
                xs, ys = zip(*points, strict=True)
                axes.plot(xs, ys, style, marker="o", markersize=4, color=palette.series_colour(series), label=name)
        axes.set_xlabel("step")
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right")
        set_margins(figure, left=0.5, bottom=0.5, top=0.1)
        return figure

    ends = [f"{name} it ends at {points[-1][1]:.3f}" for name, points in (("before", old), ("now", new)) if points]
    text = f"Dev ROUGE of {member} in training: {', '.join(ends)}"
    return render_chart(f"curve_{member}", f"Dev ROUGE of {member}", text, draw)
