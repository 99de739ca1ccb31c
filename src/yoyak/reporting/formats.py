"""Figures as the pages show them."""

from __future__ import annotations

from yoyak.scoring.bootstrap import Interval
from yoyak.scoring.results import SystemComparison


def score(value: float | Interval | None) -> str:
    """Return a score with three decimals; a dash for none."""
    if value is None:
        return "–"
    return f"{value.mean if isinstance(value, Interval) else value:.3f}"


def signed(value: float | Interval | SystemComparison | None) -> str:
    """Return a difference with its sign, a true minus."""
    if value is None:
        return "–"
    if isinstance(value, SystemComparison):
        value = value.gain
    text = f"{value.mean if isinstance(value, Interval) else value:+.3f}"
    return "0.000" if text in ("+0.000", "-0.000") else text.replace("-", "−")


def interval(value: Interval | None) -> str:
    """Return ``low–high``."""
    return "" if value is None else f"{value.low:.3f}–{value.high:.3f}"


def signed_interval(value: Interval | SystemComparison | None) -> str:
    """Return ``low to high`` with signs, where a dash would be read as a minus."""
    if value is None:
        return ""
    found = value.gain if isinstance(value, SystemComparison) else value
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


def share(value: float | None) -> str:
    """Return a part of one as ``16 %``; a dash for none."""
    return "–" if value is None else f"{value * 100:.0f}\u00a0%".replace("-", "−")
