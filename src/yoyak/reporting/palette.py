"""The colours of charts and of the style sheet: one palette for light mode and one for dark mode."""

from __future__ import annotations

from dataclasses import dataclass

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
"""matplotlib's marker of each series, so that no series is identified by colour alone."""
GLYPHS = "●■▲◆▼✚✖⬟"
"""The same markers as text, for names in tables."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colours as ``#rrggbb``."""

    paper: str
    ink: str
    muted: str
    grid: str
    series: tuple[str, ...]
    """Colours of the systems that charts highlight, distinct under common colour vision deficiencies."""

    def series_colour(self, series: int | None) -> str:
        """Return the colour of a series; grey for None."""
        return self.muted if series is None else self.series[series]


LIGHT = Palette(
    paper="#ffffff",
    ink="#1c2127",
    muted="#59636e",
    grid="#dfe3e8",
    series=("#0063a8", "#b8500a", "#11804f", "#9a4391", "#8a6d00", "#0f7f8c", "#c0354a", "#5b5fc7"),
)
DARK = Palette(
    paper="#14181d",
    ink="#e6e9ed",
    muted="#a0a9b4",
    grid="#30373f",
    series=("#5cabf0", "#f0935a", "#4cc38f", "#d98fd3", "#d9b640", "#4fc3cf", "#f47d8c", "#a3a6f5"),
)


def series_marker(series: int | None) -> str:
    """Return matplotlib's marker for a series; a dot for None."""
    return "o" if series is None else MARKERS[series]


def css_variables() -> str:
    """Return CSS that defines ``--paper``, ``--ink``, ``--series-0`` and so on for both colour schemes."""
    return f":root {{{_declare(LIGHT)}}}\n@media (prefers-color-scheme: dark) {{ :root {{{_declare(DARK)}}} }}\n"


def _declare(palette: Palette) -> str:
    colours = {name: getattr(palette, name) for name in ("paper", "ink", "muted", "grid")}
    colours |= {f"series-{index}": colour for index, colour in enumerate(palette.series)}
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())
