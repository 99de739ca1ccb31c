"""A chart as two SVG files, one for light pages and one for dark ones: each matplotlib's own, and complete in itself.

HTML shows them as images in data URIs, Markdown the light one as a file. Text is left as text, because matplotlib's
own font has no Hangul and the reader's browser has.
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

MEASURED_FONT = "'DejaVu Sans'"
"""The font that comes with matplotlib. Texts are measured in it on every machine, so that a chart is the same there."""
SHOWN_FONTS = "Pretendard, 'Apple SD Gothic Neo', 'Malgun Gothic', 'Noto Sans KR', 'Noto Sans CJK KR', sans-serif"

Draw = Callable[[Palette], Figure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawn chart."""

    name: str
    title: str
    description: str
    """What it shows, for readers who cannot see it."""
    light: str
    """An SVG document on white."""
    dark: str


def render_chart(name: str, title: str, description: str, draw: Draw) -> Chart:
    """Draw a figure in both palettes; the same figure gives the same bytes."""
    light, dark = (_render(draw, palette, title, description) for palette in (LIGHT, DARK))
    return Chart(name=name, title=title, description=description, light=light, dark=dark)


def data_uri(svg: str) -> str:
    """Return an SVG document as the address of an image, so that a page needs no file beside it."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"


def _render(draw: Draw, palette: Palette, title: str, description: str) -> str:
    file = io.StringIO()
    metadata = {"Title": title, "Description": description, "Date": None, "Creator": None}
    with mpl.rc_context(_settings(palette)), warnings.catch_warnings():
        # matplotlib's own font has no Hangul; the reader's browser, which sets the text, does.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        draw(palette).savefig(file, format="svg", metadata=metadata)
    return file.getvalue().replace(MEASURED_FONT, SHOWN_FONTS)


def _settings(palette: Palette) -> dict[Any, Any]:
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
