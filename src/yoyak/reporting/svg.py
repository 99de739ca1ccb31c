"""A matplotlib figure as SVG in two forms.

The inline one takes its colours from the page's CSS variables, so that it follows the reader's light or dark scheme,
and its font from the page. The file for Markdown carries the colours it was drawn in and a white ground of its own.
Text is left as text, because matplotlib's own font has no Hangul and the reader's browser has.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

FONTS = "Pretendard, 'Apple SD Gothic Neo', 'Malgun Gothic', 'Noto Sans KR', 'Noto Sans CJK KR', sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawn chart."""

    name: str
    title: str
    description: str
    """What is to be seen, for those who do not see it."""
    inline: str
    file: str


def to_chart(figure: Figure, variables: Mapping[str, str], name: str, title: str, description: str) -> Chart:
    """Return a figure as SVG without what differs from run to run or would leak into a page around it.

    ``variables`` gives the CSS variable of each colour, written ``#rrggbb``. To be called in the rc_context that
    the figure was made in, with ``svg.fonttype: none`` and a fixed ``svg.hashsalt``.
    """
    out = io.StringIO()
    with warnings.catch_warnings():
        # matplotlib's own font has no Hangul; the reader's browser, which sets the text, does.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = out.getvalue()
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box, "matplotlib writes a viewBox"
    body = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index(">", svg.index("<svg")) + 1 :], flags=re.DOTALL)
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r"<!--.*?-->\s*", "", body, flags=re.DOTALL)
    body = re.sub(r"font-family: [^;\"]*;? ?", "", body)
    body = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", body)
    body = re.sub(r'\bid="(?![mp][0-9a-f]{10}")[^"]*"', "", body)
    body = re.sub(r'((?:\bid="|url\(#|href="#)[mp])(?=[0-9a-f]{10})', rf"\g<1>-{name}-", body)
    body = re.sub(r"(?<=\d\.\d{3})\d+", "", body).replace(" >", ">")
    body = re.sub(r"\s*\n\s*", "\n", body)
    size = f'viewBox="0 0 {box[1]} {box[2]}"'
    shape = "stroke-linejoin: round; stroke-linecap: butt"
    inline = body
    for colour, variable in variables.items():
        inline = inline.replace(colour, f"var({variable})")
    label = _escape(description)
    return Chart(
        name=name,
        title=title,
        description=description,
        inline=f'<svg {size} role="img" aria-label="{label}" style="{shape}">{inline}',
        file=(
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'{size} width="{box[1]}" height="{box[2]}" role="img" aria-label="{label}" '
            f'style="{shape}; font-family: {FONTS}">'
            f'<rect width="100%" height="100%" fill="#ffffff"/>{body}'
        ),
    )


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
