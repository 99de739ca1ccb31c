"""Writes a `View` as index.html (one file, nothing loaded from anywhere) and as report.md with its images."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from yoyak.reporting import charts, ensemble_charts
from yoyak.reporting.differences import Segment
from yoyak.reporting.formats import count, duration, interval, p_value, score, signed, signed_interval
from yoyak.reporting.view import View
from yoyak.scoring.results import Part

HERE = Path(__file__).parent
GLYPHS = "●■▲◆▼✚✖⬟"
"""The charts' markers, for names in tables."""
METRIC_NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "combined": "combined"}


def write(view: View, out: Path) -> None:
    """Write the pages and images into ``out``, which is made."""
    drawn = charts.draw(view)
    if view.ensembles:
        colours = {system.name: system.series for system in view.systems if system.series is not None}
        drawn |= ensemble_charts.draw(view.ensembles.analysis, view.headline.split, view.headline.slice, colours)
    env = environment(HERE)
    values = {
        "view": view,
        "charts": drawn,
        "verdict": _verdict(view),
        "glance": [_glance(view, part) for part in view.parts],
        "pairs": _pairs(view),
        "scale": _scale(view),
        "reach": _reach(view),
        "percent": _percent(view.confidence),
        "style": (HERE / "style.css").read_text(encoding="utf-8"),
    }
    (out / "images").mkdir(parents=True)
    for chart in drawn.values():
        write_page(out / "images" / f"{chart.name}.svg", chart.file)
    write_page(out / "index.html", env.get_template("template.html.j2").render(values))
    write_page(out / "report.md", env.get_template("template.md.j2").render(values))


def write_page(path: Path, text: str) -> None:
    """Write a page or an image, closed by one line break."""
    path.write_text(text.rstrip() + "\n", encoding="utf-8", newline="\n")


def environment(*folders: Path) -> Environment:
    """Return what renders the templates in these folders."""
    env = Environment(
        loader=FileSystemLoader(folders),
        autoescape=lambda name: bool(name and name.endswith(".html.j2")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.filters |= {
        "score": score,
        "signed": signed,
        "range": interval,
        "signed_range": signed_interval,
        "p": p_value,
        "count": count,
        "duration": duration,
        "glyph": lambda series: "○" if series is None else GLYPHS[series],
        "metric": lambda name: METRIC_NAMES.get(name, name),
        "lang": language,
        "md": markdown,
        "marked": marked_html,
        "marked_md": marked_markdown,
        "inline": Markup,
    }
    return env


def _verdict(view: View) -> tuple[str, str]:
    """Return the one sentence that the page begins with, and what stands in its brackets."""
    metric = view.primary[2]
    found = _glance(view, view.headline)
    gain = found["gains"][metric]
    members = len(view.members)
    who = f"{view.best_member}, the best of {members} members on dev," if members > 1 else view.best_member
    text = (
        f"{who} reaches {view.primary[0]} ROUGE-1 {score(found['scores']['rouge1'])} and {metric} "
        f"{score(found['scores'][metric])} on {view.headline.label}"
    )
    if gain is None:
        return text, ""
    evidence = (
        f"{_percent(view.confidence)} interval of the difference {signed_interval(gain)}, {p_value(gain.p_value)}"
    )
    baseline = f"the best extractive baseline, {found['baseline']}"
    if gain.gain.low <= 0 <= gain.gain.high:
        return f"{text}, not told apart from {baseline}", evidence
    side = "above" if gain.gain.mean > 0 else "below"
    return f"{text}, {abs(gain.gain.mean):.3f} {side} {baseline}", evidence


def _percent(fraction: float) -> str:
    return f"{fraction * 100:g}\u00a0%"


def _glance(view: View, part: Part) -> dict[str, Any]:
    """Return the best member's figures on a part, and its gain over the baseline that is best there."""
    baseline = _best_baseline(view, part)
    return {
        "part": part,
        "baseline": baseline,
        "scores": {name: view.score(view.best_member, part, name) for name in ("rouge1", view.primary[2])},
        "gains": {
            name: view.comparison(view.best_member, baseline, part, name) for name in ("rouge1", view.primary[2])
        },
    }


def _best_baseline(view: View, part: Part) -> str:
    """Return the baseline that is best on a part and that something was compared with; ties and gaps: dev's."""
    found = [
        (score.mean, system.name)
        for system in view.systems
        if system.kind == "baseline"
        and (score := view.score(system.name, part, view.primary[2]))
        and view.comparison(view.best_member, system.name, part, view.primary[2])
    ]
    best = max((mean for mean, _ in found), default=0.0)
    names = [name for mean, name in found if mean == best]
    return view.best_baseline if view.best_baseline in names or not names else names[0]


def _pairs(view: View) -> list[dict[str, Any]]:
    """Return the paired differences that were evaluated as rows, the better member on the headline's part first."""
    models = [system.name for system in view.models]
    members = [system.name for system in view.members]
    ordered = [(one, other) for place, one in enumerate(members) for other in members[place + 1 :]]
    ordered += [(name, view.best_member) for name in models if name not in members]
    metrics = ("combined", "rouge1")
    rows: list[dict[str, Any]] = [
        {
            "system": one,
            "against": other,
            "found": {name: [view.comparison(one, other, part, name) for part in view.parts] for name in metrics},
        }
        for one, other in ordered
    ]
    rows += [
        {
            "system": model,
            "against": "best baseline",
            "found": {
                name: [view.comparison(model, _best_baseline(view, part), part, name) for part in view.parts]
                for name in metrics
            },
        }
        for model in models
    ]
    return [row for row in rows if any(found for name in metrics for found in row["found"][name])]


def _scale(view: View) -> float:
    """Return the end of the axis that the whiskers in the tables share."""
    highs = [score.high for key, score in view.scores.items() if key[3:5] == view.primary[:2]]
    return min(1.0, int(max(highs, default=1.0) * 10 + 0.999) / 10) or 1.0


def _reach(view: View) -> float:
    """Return how far the axis of the differences goes to either side of 0."""
    ends = [abs(end) for found in view.comparisons.values() for end in (found.gain.low, found.gain.high)]
    return max(0.1, int(max(ends, default=0.1) * 10 + 0.999) / 10)


def language(text: str) -> Markup:
    """Return a ``lang`` attribute for a text that has Hangul, so that it is set and spoken as Korean."""
    return Markup(' lang="ko"') if re.search("[가-힣]", text) else Markup("")


def markdown(text: str) -> str:
    """Return a text on one line of Markdown that shows as it is, HTML and table bars included."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)
    escaped = re.sub(r"^(#{1,6}|[-+])(?=\s|$)", r"\\\1", escaped)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)


def marked_html(segments: Sequence[Segment]) -> Markup:
    """Return segments as HTML: ``ins`` for what the reference lacks, ``del`` for what it alone has."""
    tags = {"same": "{}", "added": "<ins{}>{}</ins>", "missing": "<del{}>{}</del>"}
    parts = []
    for segment in segments:
        text = html.escape(segment.text)
        whole = ' class="w"' if segment.whole else ""
        parts.append(text if segment.kind == "same" else tags[segment.kind].format(whole, text))
    return Markup("".join(parts))


def marked_markdown(segments: Sequence[Segment]) -> str:
    """Return segments as one line of Markdown with ``ins`` and ``del`` tags.

    Asterisks would not do: between Hangul and a bracket CommonMark does not take them for emphasis.
    """
    tags = {"added": "ins", "missing": "del"}
    parts = []
    for segment in segments:
        if segment.kind == "same":
            before, after = (" " if segment.text[place].isspace() else "" for place in (0, -1))
            text = markdown(segment.text)
            parts.append(before + text + after if text else " ")
            continue
        space = " " if segment.kind == "missing" and segment.whole else ""
        tag = tags[segment.kind]
        parts.append(f"{space}<{tag}>{markdown(segment.text)}</{tag}>{space}")
    return " ".join("".join(parts).split())
