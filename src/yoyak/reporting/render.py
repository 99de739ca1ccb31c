"""Writes a `View` as index.html (one file that loads nothing) and as report.md with its images."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from yoyak.reporting import charts, ensemble_charts
from yoyak.reporting.differences import Segment
from yoyak.reporting.formats import (
    format_count,
    format_duration,
    format_interval,
    format_p_value,
    format_score,
    format_signed,
    format_signed_interval,
)
from yoyak.reporting.palette import GLYPHS, css_variables
from yoyak.reporting.svg import Chart, data_uri
from yoyak.reporting.view import View
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.metrics import COMPARED_METRICS, METRIC_LABELS, METRICS
from yoyak.scoring.results import Part, SystemComparison

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """The best member on one part: its scores, and its gains over the baseline that is best there, by metric."""

    part: Part
    baseline: str
    scores: Mapping[str, Interval | None]
    gains: Mapping[str, SystemComparison | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    """A row of the table of paired differences."""

    system: str
    against: str
    comparisons: Mapping[str, Sequence[SystemComparison | None]]
    """By metric, then by part of the view."""


def write_report(view: View, out: Path) -> None:
    """Write the pages and images into a new folder ``out``."""
    drawn = charts.draw_charts(view)
    if view.ensembles:
        series = {system.name: system.series for system in view.systems if system.series is not None}
        headline = view.headline
        drawn |= ensemble_charts.draw_charts(view.ensembles.analysis, headline.split, headline.slice, series)
    env = make_environment(HERE)
    values = {
        "view": view,
        "metrics": METRICS,
        "charts": drawn,
        "verdict": _verdict(view),
        "glance": [_glance(view, part) for part in view.parts],
        "differences": _difference_rows(view),
        "score_axis_end": _score_axis_end(view),
        "difference_axis_end": _difference_axis_end(view),
        "percent": _percent(view.confidence),
        "style": read_style(),
    }
    write_images(drawn, out)
    write_text_file(out / "index.html", env.get_template("template.html.j2").render(values))
    write_text_file(out / "report.md", env.get_template("template.md.j2").render(values))


def write_images(drawn: Mapping[str, Chart], out: Path) -> None:
    """Write the charts for Markdown as ``images/<name>.svg``."""
    (out / "images").mkdir(parents=True)
    for chart in drawn.values():
        write_text_file(out / "images" / f"{chart.name}.svg", chart.light)


def write_text_file(path: Path, text: str) -> None:
    """Write a page or an image with exactly one line break at its end."""
    path.write_text(text.rstrip() + "\n", encoding="utf-8", newline="\n")


def read_style() -> str:
    """Return the pages' CSS."""
    return css_variables() + (HERE / "style.css").read_text(encoding="utf-8")


def make_environment(*folders: Path) -> Environment:
    """Return the Jinja environment that renders the templates in these folders."""
    env = Environment(
        loader=FileSystemLoader(folders),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "score": format_score,
        "signed": format_signed,
        "range": format_interval,
        "signed_range": format_signed_interval,
        "p": format_p_value,
        "count": format_count,
        "duration": format_duration,
        "glyph": lambda series: "○" if series is None else GLYPHS[series],
        "metric": lambda name: METRIC_LABELS.get(name, name),
        "lang": lang_attribute,
        "md": escape_markdown,
        "marked": mark_html,
        "marked_md": mark_markdown,
        "inline": Markup,
        "data_uri": data_uri,
    }
    return env


def _verdict(view: View) -> tuple[str, str]:
    """Return the sentence that the page begins with, and the evidence in its brackets."""
    metric = view.primary.metric
    glance = _glance(view, view.headline)
    members = len(view.members)
    who = f"{view.best_member}, the best of {members} members on dev," if members > 1 else view.best_member
    text = (
        f"{who} reaches {view.primary.granularity} ROUGE-1 {format_score(glance.scores['rouge1'])} and {metric} "
        f"{format_score(glance.scores[metric])} on {view.headline.label}"
    )
    comparison = glance.gains[metric]
    if comparison is None:
        return text, ""
    evidence = (
        f"{_percent(view.confidence)} interval of the difference {format_signed_interval(comparison)}, "
        f"{format_p_value(comparison.p_value)}"
    )
    baseline = f"the best extractive baseline, {glance.baseline}"
    gain = comparison.gain
    if gain.low <= 0 <= gain.high:
        return f"{text}, not significantly different from {baseline}", evidence
    side = "above" if gain.mean > 0 else "below"
    return f"{text}, {abs(gain.mean):.3f} {side} {baseline}", evidence


def _percent(fraction: float) -> str:
    return f"{fraction * 100:g}\u00a0%"


def _glance(view: View, part: Part) -> Glance:
    metrics = ("rouge1", view.primary.metric)
    baseline = _best_baseline(view, part)
    return Glance(
        part=part,
        baseline=baseline,
        scores={metric: view.score(view.best_member, part, metric) for metric in metrics},
        gains={metric: view.comparison(view.best_member, baseline, part, metric) for metric in metrics},
    )


def _best_baseline(view: View, part: Part) -> str:
    """Return the best baseline on a part among those that were compared; that of dev if it ties or none was."""
    metric = view.primary.metric
    means = {
        system.name: score.mean
        for system in view.systems
        if system.kind == "baseline"
        and (score := view.score(system.name, part, metric))
        and view.comparison(view.best_member, system.name, part, metric)
    }
    best = [name for name, mean in means.items() if mean == max(means.values())]
    return view.best_baseline if view.best_baseline in best or not best else best[0]


def _difference_rows(view: View) -> list[DifferenceRow]:
    """Return the paired differences that were evaluated, the better member on the headline's part first."""
    models = [system.name for system in view.models]
    members = [system.name for system in view.members]
    pairs = [(one, other) for index, one in enumerate(members) for other in members[index + 1 :]]
    pairs += [(name, view.best_member) for name in models if name not in members]
    rows = [
        DifferenceRow(
            system=one,
            against=other,
            comparisons={
                metric: [view.comparison(one, other, part, metric) for part in view.parts]
                for metric in COMPARED_METRICS
            },
        )
        for one, other in pairs
    ]
    rows += [
        DifferenceRow(
            system=model,
            against="best baseline",
            comparisons={
                metric: [view.comparison(model, _best_baseline(view, part), part, metric) for part in view.parts]
                for metric in COMPARED_METRICS
            },
        )
        for model in models
    ]
    return [row for row in rows if any(any(by_part) for by_part in row.comparisons.values())]


def _score_axis_end(view: View) -> float:
    """Return the end of the axis that the whiskers of scores share."""
    primary = (view.primary.granularity, view.primary.multi_reference)
    highs = [score.high for key, score in view.scores.items() if key[3:5] == primary]
    return min(1.0, int(max(highs, default=1.0) * 10 + 0.999) / 10) or 1.0


def _difference_axis_end(view: View) -> float:
    """Return how far the axis of the differences reaches on either side of 0."""
    ends = [abs(end) for each in view.comparisons.values() for end in (each.gain.low, each.gain.high)]
    return max(0.1, int(max(ends, default=0.1) * 10 + 0.999) / 10)


def lang_attribute(text: str) -> Markup:
    """Return a ``lang`` attribute for a text with Hangul, so that it is typeset and read out as Korean."""
    return Markup(' lang="ko"') if re.search("[가-힣]", text) else Markup("")


def escape_markdown(text: str) -> str:
    """Return a text as one line of Markdown that shows it literally, HTML and table bars included."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)
    escaped = re.sub(r"^(#{1,6}|[-+])(?=\s|$)", r"\\\1", escaped)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)


def mark_html(segments: Sequence[Segment]) -> Markup:
    """Return segments as HTML: ``ins`` for what the reference lacks, ``del`` for what only it has."""
    tags = {"same": "{}", "added": "<ins{}>{}</ins>", "missing": "<del{}>{}</del>"}
    parts = []
    for segment in segments:
        text = html.escape(segment.text)
        whole = ' class="w"' if segment.whole else ""
        parts.append(text if segment.kind == "same" else tags[segment.kind].format(whole, text))
    return Markup("".join(parts))


def mark_markdown(segments: Sequence[Segment]) -> str:
    """Return segments as one line of Markdown with ``ins`` and ``del`` tags.

    Asterisks do not work: between Hangul and a bracket, CommonMark does not read them as emphasis.
    """
    tags = {"added": "ins", "missing": "del"}
    parts = []
    for segment in segments:
        if segment.kind == "same":
            before, after = (" " if segment.text[end].isspace() else "" for end in (0, -1))
            text = escape_markdown(segment.text)
            parts.append(before + text + after if text else " ")
            continue
        space = " " if segment.kind == "missing" and segment.whole else ""
        tag = tags[segment.kind]
        parts.append(f"{space}<{tag}>{escape_markdown(segment.text)}</{tag}>{space}")
    return " ".join("".join(parts).split())
