"""Formatting `--help`."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions


class HelpText:
    """Help in two aligned columns of plain text: no boxes, and no colours but bold titles in a terminal."""

    def __call__(self, console: Console, options: ConsoleOptions, panel: HelpPanel) -> None:
        """Print one group of verbs or of arguments."""
        from rich.text import Text

        rows = [(", ".join(_labels(entry)), _description(entry, console, options)) for entry in panel.entries]
        if not rows:
            return
        console.print()
        console.print(Text(f"{panel.title}:", style="bold"))
        indent = min(max(len(label) for label, _ in rows), 24) + 4
        width = min(console.width, 110)
        for label, text in rows:
            first, *others = textwrap.wrap(text, width - indent, break_on_hyphens=False) or [""]
            _print(console, f"  {label:{indent - 2}}{first}")
            for line in others:
                _print(console, " " * indent + line)

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        _print(console, f"Usage: {str(usage).strip()}")

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the verb does."""
        console.print()
        _print(console, _plain_text(description, console, options))


def _labels(entry: HelpEntry) -> list[str]:
    return [entry.positional_label] if entry.positional_label else [*entry.all_options]


def _description(entry: HelpEntry, console: Console, options: ConsoleOptions) -> str:
    notes = [
        _plain_text(entry.description, console, options) if entry.description else "",
        f"One of {', '.join(entry.choices)}." if entry.choices else "",
        f"[default: {entry.default}]" if entry.default and entry.default != "False" else "",
    ]
    return " ".join(note for note in notes if note)


def _plain_text(renderable: Any, console: Console, options: ConsoleOptions) -> str:
    wide = options.update(width=10_000)
    return "".join(segment.text for segment in console.render(renderable, wide)).strip()


def _print(console: Console, line: str) -> None:
    console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)
