"""Margins and legends of charts, and the width of texts in them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from yoyak.reporting.palette import Palette


def set_margins(figure: Figure, *, left: float, bottom: float, top: float = 0.05) -> None:
    """Set margins in inches."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(left=left / width, right=1 - 0.1 / width, top=1 - top / height, bottom=bottom / height)


def add_legend(figure: Figure, axes: Axes, *, left: float, bottom: float = 0.5, reverse: bool = False) -> None:
    """Set margins in inches, and a legend above the axes that takes as many lines as it needs."""
    handles, labels = axes.get_legend_handles_labels()
    if reverse:
        handles, labels = handles[::-1], labels[::-1]
    width, height = figure.get_size_inches()
    columns = max(1, min(len(labels), int(width / (0.45 + 0.08 * max(map(text_width, labels), default=1)))))
    lines = -(-len(labels) // columns)
    legend_height = 0.1 + 0.2 * lines
    figure.set_size_inches(width, height + legend_height)
    figure.legend(
        handles,
        labels,
        loc="upper left",
        bbox_to_anchor=(0, 1),
        ncols=columns,
        borderaxespad=0,
        handletextpad=0.5,
    )
    set_margins(figure, left=left, bottom=bottom, top=legend_height + 0.06)


def shift_in_bin(index: int, count: int) -> float:
    """Return how far to shift one of ``count`` systems sideways within a bin, so that whiskers do not overlap."""
    return (index - (count - 1) / 2) * min(0.12, 0.6 / count)


def label_bins(axes: Axes, bins: Sequence[tuple[str, int]], name: str, palette: Palette) -> None:
    """Label the x axis with bins, each with its number of dialogues below it."""
    axes.set_xticks(range(len(bins)), [label for label, _ in bins])
    below: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
    for x, (_, count) in enumerate(bins):
        # A text of its own, because the browser does not centre the lines of one text.
        axes.annotate(f"n={count:,}", (x, 0), (0, -26), color=palette.muted, fontsize=9, **below)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.5, len(bins) - 0.5)
    axes.set_xlabel(name, labelpad=16)


def text_width(text: str) -> int:
    """Return the width of a text in half-width characters."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def shorten(text: str, width: int) -> str:
    """Return a text on one line of at most ``width`` half-width characters, cut with an ellipsis."""
    text = " ".join(text.split())
    while text_width(text) > width:
        text = text[:-2] + "…"
    return text
