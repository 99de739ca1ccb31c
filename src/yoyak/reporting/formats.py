"""Formatting of numbers and texts on the pages."""

from __future__ import annotations

import html
import re

from yoyak.scoring.bootstrap import Comparison, Interval
from yoyak.scoring.results import SystemComparison

NBSP = "\u00a0"


def format_score(value: float | Interval | None) -> str:
    """Return a score with three decimals; a dash for None."""
    if value is None:
        return "–"
    return f"{value.mean if isinstance(value, Interval) else value:.3f}"


def format_signed(value: float | Interval | SystemComparison | None) -> str:
    """Return a difference with its sign, and a proper minus; a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, SystemComparison):
        value = value.gain
    text = f"{value.mean if isinstance(value, Interval) else value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def format_gain(value: float) -> str:
    """Return a difference with its sign and four decimals, as the gate writes it, and a proper minus."""
    return f"{value:+.4f}".replace("-", "−")


def format_interval(value: Interval | None) -> str:
    """Return ``low–high``; empty for None."""
    return "" if value is None else f"{value.low:.3f}–{value.high:.3f}"


def format_signed_interval(value: Interval | Comparison | SystemComparison | None) -> str:
    """Return ``low to high`` with signs, because a dash would look like a minus; empty for None."""
    if value is None:
        return ""
    ends = value.gain if isinstance(value, SystemComparison) else value
    return f"{format_signed(ends.low)} to {format_signed(ends.high)}"


def format_score_with_interval(value: Interval) -> str:
    """Return ``mean (low–high)``."""
    return f"{format_score(value)} ({format_interval(value)})"


def format_comparison(value: Comparison) -> str:
    """Return ``difference (low to high)`` with signs."""
    return f"{format_signed(value.difference)} ({format_signed_interval(value)})"


def format_p_value(value: float) -> str:
    """Return ``p = 0.042``, or ``p ≤ 0.001``: 2,000 resamples hardly resolve smaller values."""
    return f"p{NBSP}≤{NBSP}0.001" if value <= 0.001 else f"p{NBSP}={NBSP}{value:.3f}"


def format_p_cell(value: float) -> str:
    """Return a p-value for a column named p: ``≤ 0.001`` or ``0.042``."""
    return format_p_value(value).removeprefix(f"p{NBSP}").removeprefix(f"={NBSP}")


def format_count(value: object) -> str:
    """Return a number with thousands separators, or millions as ``1.23 M``; a dash for None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "–" if value is None or value == "" else str(value)
    if value >= 1e9:
        return f"{value / 1e9:.2f} G"
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def format_duration(value: object) -> str:
    """Return seconds as ``48 s``, ``1 min 32 s`` or ``2 h 05 min``; a dash for anything but a number."""
    if not isinstance(value, int | float):
        return "–"
    seconds = round(value)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"


def format_share(value: float | None) -> str:
    """Return a fraction as ``16%``; a dash for None."""
    return "–" if value is None else f"{value * 100:.0f}%".replace("-", "−")


def format_percentage(value: float) -> str:
    """Return a fraction as ``1.5 %``, without the decimal place from 10 % on."""
    return f"{value * 100:.{0 if round(value, 3) >= 0.1 or not value else 1}f}{NBSP}%"


def escape_markdown(text: str) -> str:
    """Escape a text for one line of Markdown, including HTML and the bars of tables."""
    escaped = html.escape(" ".join(text.split()), quote=False)
    escaped = re.sub(r"([\\`*_\[\]|~])", r"\\\1", escaped)
    escaped = re.sub(r"^(#{1,6}|[-+])(?=\s|$)", r"\\\1", escaped)
    return re.sub(r"^(\d+)([.)])(?=\s|$)", r"\1\\\2", escaped)
