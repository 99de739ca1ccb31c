"""A chart as two self-contained SVG documents from matplotlib, one for light mode and one for dark mode.

HTML embeds both as data URIs; Markdown links to the light one as a file. Text stays text, because matplotlib's own font
has no Hangul, unlike the fonts of the reader's browser.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from yoyak.reporting.palette import DARK, LIGHT, Palette

MEASURING_FONT = "'DejaVu Sans'"
"""The font that comes with matplotlib: text is laid out with it, so that charts are the same on every machine."""
DISPLAY_FONTS = "Pretendard, 'Apple SD Gothic Neo', 'Malgun Gothic', 'Noto Sans KR', 'Noto Sans CJK KR', sans-serif"

Draw = Callable[[Palette], Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawn chart."""

    name: str
    title: str
    description: str
    """Alternative text."""
    light: str
    """The SVG document for light mode."""
    dark: str


def render_chart(name: str, title: str, description: str, draw: Draw) -> Chart:
    """Draw a figure in both palettes. The same figure gives the same bytes."""
    light, dark = (_render(draw, palette, title, description) for palette in (LIGHT, DARK))
    return Chart(name=name, title=title, description=description, light=light, dark=dark)


def data_uri(svg: str) -> str:
    """Return an SVG document as a data URI, so that the page needs no other file."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _render(draw: Draw, palette: Palette, title: str, description: str) -> str:
    file = io.StringIO()
    metadata = {"Title": title, "Description": description, "Date": None, "Creator": None}
    with mpl.rc_context(_make_settings(palette)), warnings.catch_warnings():
        # matplotlib's own font has no Hangul, but the browser that renders the text has one that does.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        draw(palette).savefig(file, format="svg", metadata=metadata)
    return file.getvalue().replace(MEASURING_FONT, DISPLAY_FONTS)


def _make_settings(palette: Palette) -> dict[Any, Any]:
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "yoyak",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 10,
        "figure.facecolor": palette.paper,
        "axes.facecolor": "none",
        "axes.edgecolor": palette.muted,
        "axes.labelcolor": palette.muted,
        "axes.titlecolor": palette.ink,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
        "axes.linewidth": 0.8,
        "grid.color": palette.grid,
        "grid.linewidth": 0.8,
        "xtick.color": palette.muted,
        "ytick.color": palette.muted,
        "xtick.major.size": 3,
        "ytick.major.size": 0,
        "text.color": palette.ink,
        "legend.frameon": False,
        "legend.fontsize": 9.5,
        "legend.handlelength": 1.6,
        "legend.columnspacing": 1.2,
    }
