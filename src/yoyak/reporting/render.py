"""Writes a `View` as index.html (one file, nothing loaded from anywhere) and as report.md with its images."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from yoyak.reporting import charts
from yoyak.reporting.differences import Segment
from yoyak.reporting.view import Comparison, Interval, Part, View

HERE = Path(__file__).parent
GLYPHS = "●■▲◆▼✚✖⬟"
"""The charts' markers, for names in tables."""
PAIRS = 40
METRIC_NAMES = {"rouge1": "ROUGE-1", "rouge2": "ROUGE-2", "rougeL": "ROUGE-L", "combined": "combined"}


def write(view: View, out: Path) -> None:
    """Write the pages and images into ``out``, which is made."""
    drawn = charts.draw(view)
    env = _environment()
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
        _write(out / "images" / f"{chart.name}.svg", chart.file)
    _write(out / "index.html", env.get_template("template.html.j2").render(values))
    _write(out / "report.md", env.get_template("template.md.j2").render(values))


def _write(path: Path, text: str) -> None:
    path.write_text(text.rstrip() + "\n", encoding="utf-8", newline="\n")


def _environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(HERE),
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
    models = len(view.models)
    who = f"{view.best_member}, the best of {models} members on dev," if models > 1 else view.best_member
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
    """Return the paired differences as rows, the better one on the headline's part first.

    With many members only the pairs that the best one is part of are shown.
    """
    models = [system.name for system in view.models]
    ordered = [(one, other) for place, one in enumerate(models) for other in models[place + 1 :]]
    if len(ordered) > PAIRS:
        ordered = [pair for pair in ordered if view.best_member in pair]
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


def score(value: float | Interval | None) -> str:
    """Return a score with three decimals; a dash for none."""
    if value is None:
        return "–"
    return f"{value.mean if isinstance(value, Interval) else value:.3f}"


def signed(value: float | Interval | Comparison | None) -> str:
    """Return a difference with its sign, a true minus."""
    if value is None:
        return "–"
    if isinstance(value, Comparison):
        value = value.gain
    text = f"{value.mean if isinstance(value, Interval) else value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def interval(value: Interval | None) -> str:
    """Return ``low–high``."""
    return "" if value is None else f"{value.low:.3f}–{value.high:.3f}"


def signed_interval(value: Interval | Comparison | None) -> str:
    """Return ``low to high`` with signs, where a dash would be read as a minus."""
    if value is None:
        return ""
    found = value.gain if isinstance(value, Comparison) else value
    return f"{signed(found.low)} to {signed(found.high)}"


def p_value(value: float) -> str:
    """Return ``p ≤ 0.001``, which is about the least that 2,000 resamples can say, or ``p = 0.042``."""
    return "p\u00a0≤\u00a00.001" if value <= 0.001 else f"p\u00a0=\u00a0{value:.3f}"


def count(value: object) -> str:
    """Return a number with thousands apart, millions as ``1.2 M``; a dash for none."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "–" if value is None or value == "" else str(value)
    if value >= 1e9:
        return f"{value / 1e9:.2f} G"
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def duration(value: object) -> str:
    """Return seconds as ``48 s``, ``1 min 32 s`` or ``2 h 05 min``."""
    if not isinstance(value, int | float):
        return "–"
    seconds = round(value)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


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
