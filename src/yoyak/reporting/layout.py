"""Margins, legends and text widths of charts."""

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
    """Set margins in inches, and add a legend above the axes, on as many lines as it needs."""
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
    """Return the horizontal offset of one of ``count`` systems within a bin, so that whiskers do not overlap."""
    return (index - (count - 1) / 2) * min(0.12, 0.6 / count)


def label_bins(axes: Axes, bins: Sequence[tuple[str, int]], name: str, palette: Palette) -> None:
    """Label the x axis with the bins, and the number of dialogues below each."""
    axes.set_xticks(range(len(bins)), [label for label, _ in bins])
    below: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "ha": "center"}
    for x, (_, count) in enumerate(bins):
        # A separate annotation, because browsers do not centre the lines of a multi-line label.
        axes.annotate(f"n={count:,}", (x, 0), (0, -26), color=palette.muted, fontsize=9, **below)
    axes.grid(visible=False, axis="x")
    axes.set_xlim(-0.5, len(bins) - 0.5)
    axes.set_xlabel(name, labelpad=16)


def text_width(text: str) -> int:
    """Return the width of a text in half-width characters."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def shorten(text: str, width: int) -> str:
    """Return a text as one line of at most ``width`` half-width characters, truncated with an ellipsis."""
    text = " ".join(text.split())
    while text_width(text) > width:
        text = text[:-2] + "…"
    return text
