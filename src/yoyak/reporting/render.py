"""Writes a `View` as index.html, a single self-contained file, and as report.md with its images."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from yoyak.behaviour.accuracy_results import FactRate
from yoyak.reporting import charts, ensemble_charts
from yoyak.reporting.differences import Segment
from yoyak.reporting.formats import (
    escape_markdown,
    format_count,
    format_duration,
    format_interval,
    format_p_value,
    format_percentage,
    format_score,
    format_share,
    format_signed,
    format_signed_interval,
)
from yoyak.reporting.palette import GLYPHS, css_variables
from yoyak.reporting.svg import Chart, data_uri
from yoyak.reporting.view import View
from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.metrics import COMPARED_METRICS, METRIC_LABELS, METRICS
from yoyak.scoring.results import Part, SystemComparison

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """The best member on one part: its scores, and its gains over the best baseline there, by metric."""

    part: Part
    baseline: str
    facts: FactRate | None
    scores: Mapping[str, Interval | None]
    gains: Mapping[str, SystemComparison | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferenceRow:
    """A row in the table of paired differences."""

    system: str
    against: str
    comparisons: Mapping[str, Sequence[SystemComparison | None]]
    """By metric; one for each part of the view."""


def write_report(view: View, out: Path) -> None:
    """Create the folder ``out`` with both pages and their images."""
    charts_by_name = charts.draw_charts(view)
    if view.ensembles:
        series = {system.name: system.series for system in view.systems if system.series is not None}
        headline = view.headline
        charts_by_name |= ensemble_charts.draw_charts(view.ensembles.analysis, headline.split, headline.slice, series)
    env = make_environment(TEMPLATES)
    values = {
        "view": view,
        "metrics": METRICS,
        "charts": charts_by_name,
        "verdict": _describe_verdict(view),
        "overview": [_make_overview(view, part) for part in view.parts],
        "facts_note": _describe_facts(view),
        "differences": _make_difference_rows(view),
        "score_axis_end": _find_score_axis_end(view),
        "difference_axis_end": _find_difference_axis_end(view),
        "percent": _format_percent(view.confidence),
        "style": read_style(),
    }
    write_images(charts_by_name, out)
    write_text_file(out / "index.html", env.get_template("template.html.j2").render(values))
    write_text_file(out / "report.md", env.get_template("template.md.j2").render(values))


def write_images(charts_by_name: Mapping[str, Chart], out: Path) -> None:
    """Write the charts for Markdown as ``images/<name>.svg``."""
    (out / "images").mkdir(parents=True)
    for chart in charts_by_name.values():
        write_text_file(out / "images" / f"{chart.name}.svg", chart.light)


def write_text_file(path: Path, text: str) -> None:
    """Write a page or an image that ends with exactly one newline."""
    path.write_text(text.rstrip() + "\n", encoding="utf-8", newline="\n")


def read_style() -> str:
    """Return the pages' CSS."""
    return css_variables() + (TEMPLATES / "style.css").read_text(encoding="utf-8")


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
        "percentage": format_percentage,
        "share": format_share,
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


def _describe_verdict(view: View) -> tuple[str, str]:
    """Return the headline of the page, and the evidence that follows it in brackets."""
    metric = view.primary.metric
    overview = _make_overview(view, view.headline)
    members = len(view.members)
    subject = f"{view.best_member}, the best of {members} members on dev," if members > 1 else view.best_member
    text = (
        f"{subject} reaches {view.primary.granularity} ROUGE-1 {format_score(overview.scores['rouge1'])} and {metric} "
        f"{format_score(overview.scores[metric])} on {view.headline.label}"
    )
    comparison = overview.gains[metric]
    if comparison is None:
        return text, ""
    evidence = (
        f"{_format_percent(view.confidence)} interval of the difference {format_signed_interval(comparison)}, "
        f"{format_p_value(comparison.p_value)}"
    )
    baseline = f"the best extractive baseline, {overview.baseline}"
    gain = comparison.gain
    if gain.low <= 0 <= gain.high:
        return f"{text}, not significantly different from {baseline}", evidence
    direction = "above" if gain.mean > 0 else "below"
    return f"{text}, {abs(gain.mean):.3f} {direction} {baseline}", evidence


def _describe_facts(view: View) -> str:
    """Return what the tables of facts count."""
    if view.facts is None:
        return ""
    known = (
        "Where the data say what a summary has to state, each of these facts has to be in it, and nothing that was "
        "taken back in the dialogue. "
        if view.facts.known
        else "The data do not say what a summary has to state, so that facts that are missing are not noticed. "
    )
    return (
        f"{known}Numbers, names and masks that neither the dialogue nor a reference has are made up, and who does what "
        "is wrong if a summary is closer to its references with the speakers swapped. Each figure is the share of the "
        f"summaries that state such a fact, or should; {_format_percent(view.confidence)} intervals."
    )


def _format_percent(fraction: float) -> str:
    return f"{fraction * 100:g}%"


def _make_overview(view: View, part: Part) -> Overview:
    metrics = ("rouge1", view.primary.metric)
    baseline = _find_best_baseline(view, part)
    return Overview(
        part=part,
        baseline=baseline,
        facts=view.facts.rates.get((view.best_member, part)) if view.facts else None,
        scores={metric: view.score(view.best_member, part, metric) for metric in metrics},
        gains={metric: view.comparison(view.best_member, baseline, part, metric) for metric in metrics},
    )


def _find_best_baseline(view: View, part: Part) -> str:
    """Return the best baseline on a part of those that were compared; the best on dev if it ties, or if none was."""
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


def _make_difference_rows(view: View) -> list[DifferenceRow]:
    """Return the paired differences that were evaluated; a member is compared with those that rank below it."""
    models = [system.name for system in view.models]
    members = [system.name for system in view.members]
    pairs = list(combinations(members, 2))
    pairs += [(name, view.best_member) for name in models if name not in members]
    rows = [
        DifferenceRow(
            system=system,
            against=against,
            comparisons={
                metric: [view.comparison(system, against, part, metric) for part in view.parts]
                for metric in COMPARED_METRICS
            },
        )
        for system, against in pairs
    ]
    rows += [
        DifferenceRow(
            system=model,
            against="best baseline",
            comparisons={
                metric: [view.comparison(model, _find_best_baseline(view, part), part, metric) for part in view.parts]
                for metric in COMPARED_METRICS
            },
        )
        for model in models
    ]
    return [row for row in rows if any(any(by_part) for by_part in row.comparisons.values())]


def _find_score_axis_end(view: View) -> float:
    """Return the upper end of the axis that all whiskers of scores share."""
    primary = (view.primary.granularity, view.primary.multi_reference)
    highs = [score.high for key, score in view.scores.items() if key[3:5] == primary]
    return min(1.0, int(max(highs, default=1.0) * 10 + 0.999) / 10) or 1.0


def _find_difference_axis_end(view: View) -> float:
    """Return how far the axis of differences extends to either side of 0."""
    ends = [abs(end) for row in view.comparisons.values() for end in (row.gain.low, row.gain.high)]
    return max(0.1, int(max(ends, default=0.1) * 10 + 0.999) / 10)


def lang_attribute(text: str) -> Markup:
    """Return a ``lang`` attribute for a text with Hangul, so that it is rendered and read aloud as Korean."""
    return Markup(' lang="ko"') if re.search("[가-힣]", text) else Markup("")


def mark_html(segments: Sequence[Segment]) -> Markup:
    """Return segments as HTML: ``ins`` for what only the summary has, ``del`` for what only the reference has."""
    tags = {"same": "{}", "added": "<ins{}>{}</ins>", "missing": "<del{}>{}</del>"}
    parts = []
    for segment in segments:
        text = html.escape(segment.text)
        whole = ' class="w"' if segment.whole else ""
        parts.append(text if segment.kind == "same" else tags[segment.kind].format(whole, text))
    return Markup("".join(parts))


def mark_markdown(segments: Sequence[Segment]) -> str:
    """Return segments as one line of Markdown with ``ins`` and ``del`` tags.

    Asterisks would not do: between Hangul and a bracket, CommonMark does not parse them as emphasis.
    """
    tags = {"added": "ins", "missing": "del"}
    parts = []
    for segment in segments:
        if segment.kind == "same":
            before, after = (" " if segment.text[index].isspace() else "" for index in (0, -1))
            text = escape_markdown(segment.text)
            parts.append(before + text + after if text else " ")
            continue
        space = " " if segment.kind == "missing" and segment.whole else ""
        tag = tags[segment.kind]
        parts.append(f"{space}<{tag}>{escape_markdown(segment.text)}</{tag}>{space}")
    return " ".join("".join(parts).split())
