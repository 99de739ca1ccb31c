"""Versions, comparisons and histories as aligned text for people, at most `WIDTH` columns wide."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Literal

from yoyak.registry.comparing import Comparison, Difference, Example
from yoyak.registry.gate import Verdict
from yoyak.registry.history import Entry
from yoyak.registry.queries import METRIC, SPLIT, VersionInfo
from yoyak.scoring.metrics import METRICS

WIDTH = 100
PER_TABLE = 4
"""Versions that are side by side in one table; more of them get another one."""
Cell = str | float | None


def format_versions(versions: Sequence[VersionInfo], metric: str = METRIC, split: str = SPLIT) -> str:
    """Return a line for each version."""
    rows = [
        (
            info.label,
            ", ".join(info.aliases),
            info.member,
            info.architecture,
            info.variant,
            info.score(metric, split),
            info.created[:16].replace("T", " "),
            _describe_commit(info, 7),
        )
        for info in versions
    ]
    titles = ("version", "aliases", "member", "architecture", "variant", f"{split} {metric}", "created", "commit")
    lines = [_table(titles, rows)]
    data = {info.data for info in versions if info.data and info.score(metric, split) is not None}
    if len(data) > 1:
        lines.append(f"These scores were computed on {len(data)} different data sets, so they cannot all be compared.")
    return "\n".join(lines)


def format_version(info: VersionInfo) -> str:
    """Return everything about one version."""
    facts = {
        "uri": info.uri,
        "aliases": ", ".join(info.aliases),
        "member": info.member,
        "architecture": info.architecture,
        "variant": info.variant,
        "created": info.created,
        "commit": _describe_commit(info, 40),
        "experiment": info.experiment,
        "data": info.data,
        "run": info.run_id,
        "model id": info.model_id,
        "identity": info.identity,
        **{
            f"{alias} since": f"{when}, by {info.tags.get(f'alias.{alias}.who', 'somebody')}, "
            f"before it version {info.tags.get(f'alias.{alias}.from', 'none')}"
            for alias in info.aliases
            if (when := info.tags.get(f"alias.{alias}.when"))
        },
        **{
            f"{alias} gate": sentence
            for alias in info.aliases
            if (sentence := info.tags.get(f"alias.{alias}.gate.sentence"))
        },
    }
    parts = [_facts({name: value for name, value in facts.items() if value})]
    if info.scores:
        metrics = _order({metric for scores in info.scores.values() for metric in scores})
        rows = [(split, *(scores.get(metric) for metric in metrics)) for split, scores in sorted(info.scores.items())]
        parts.append(_table(("split", *metrics), rows))
    if info.description:
        parts.append(info.description.strip())
    return "\n\n".join(parts)


def format_comparison(comparison: Comparison) -> str:
    """Return versions side by side."""
    return "\n\n".join(part for part in _comparison_parts(comparison) if part)


def format_history(entries: Sequence[Entry]) -> str:
    """Return a line for each decision, oldest first."""
    rows = [
        (
            str(entry.number),
            entry.when[:16].replace("T", " "),
            entry.who,
            entry.action if entry.valid else f"{entry.action} (lost)",
            f"{entry.source or 'none'} → {entry.target}",
            entry.commit[:7],
            entry.reason,
        )
        for entry in entries
    ]
    return _table(("no.", "when (UTC)", "who", "what", "champion", "commit", "why"), rows, wrapped="why")


def format_verdict(verdict: Verdict) -> str:
    """Return what the gate found: its outcome, figures and checks."""
    facts = {
        "outcome": verdict.outcome,
        "champion": f"version {verdict.champion}, challenger number {verdict.attempt}" if verdict.attempt else "",
        "dialogues": str(verdict.dialogues) if verdict.dialogues else "",
    }
    rows = [(check.name, "passed" if check.passed else "failed", check.sentence) for check in verdict.checks]
    parts = [_facts({name: value for name, value in facts.items() if value})]
    parts.append(_table(("check", "result", "why"), rows, wrapped="why") if rows else _wrap(verdict.sentence, ""))
    return "\n\n".join(parts)


def _comparison_parts(comparison: Comparison) -> Iterator[str]:
    yield format_versions(comparison.versions)
    splits = sorted({split for info in comparison.versions for split in info.scores} - {"gate"})
    for versions in _chunks(comparison.versions):
        rows = [
            (split, metric, *(info.score(metric, split) for info in versions))
            for split in splits
            for metric in _order({name for info in versions for name in info.scores.get(split, ())})
        ]
        yield _table(("split", "metric", *(info.label for info in versions)), rows) if rows else ""
    first = comparison.versions[0].label
    tests = [test for test in comparison.differences if test.metric == METRIC]
    if tests:
        title = f"Difference to {first} in combined ROUGE on the same dialogues (paired bootstrap, 95 %, two-sided p):"
        rows = [(test.version, test.split, *_describe_test(test)) for test in tests]
        yield f"{title}\n{_table(('version', 'split', 'difference', 'interval', 'p', 'dialogues'), rows)}"
    yield "\n".join(_wrap(problem, "") for problem in comparison.problems)
    if not comparison.params:
        yield "No recorded param differs."
    for start in range(0, len(comparison.versions) if comparison.params else 0, PER_TABLE):
        labels = [info.label for info in comparison.versions[start : start + PER_TABLE]]
        values = [(param.key, *param.values[start : start + PER_TABLE]) for param in comparison.params]
        yield _table(("param", *labels), values)
    for example in comparison.examples:
        yield _format_example(example)


def _describe_test(test: Difference) -> tuple[str, ...]:
    interval = f"[{test.low:+.4f}, {test.high:+.4f}]"
    return f"{test.difference:+.4f}", interval, f"{test.p_value:.4f}", str(test.dialogues)


def _format_example(example: Example) -> str:
    lines = [f"{example.fname} ({example.split})"]
    lines += [_wrap(turn, "    ") for turn in example.dialogue.splitlines()]
    lines += [
        _wrap(f"{label} ({example.scores[label]:.4f}): {summary}", "  ") for label, summary in example.summaries.items()
    ]
    return "\n".join(lines)


def _describe_commit(info: VersionInfo, characters: int) -> str:
    return f"{info.commit[:characters]}{' + changes' if info.dirty else ''}" if info.commit else ""


def _order(metrics: set[str]) -> list[str]:
    known = [metric for metric in METRICS if metric in metrics]
    return [*known, *sorted(metrics - set(known))]


def _chunks(versions: Sequence[VersionInfo]) -> Iterator[Sequence[VersionInfo]]:
    for start in range(0, len(versions), PER_TABLE):
        yield versions[start : start + PER_TABLE]


def _facts(facts: dict[str, str]) -> str:
    indent = max(map(len, facts)) + 2
    return "\n".join(_wrap(value, " " * indent, first=name.ljust(indent)) for name, value in facts.items())


def _table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], wrapped: str = "") -> str:
    """Return rows below titles. Cells that do not fit are cut off, or wrapped in the column ``wrapped``."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False, header_style="")
    for index, title in enumerate(titles):
        numeric = any(isinstance(row[index], float) for row in rows)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(
            Text(title, no_wrap=True), justify=justify, no_wrap=title != wrapped, overflow="ellipsis", min_width=3
        )
    for row in rows:
        table.add_row(*(Text(_text(cell)) for cell in row))
    return _render(table)


def _text(cell: Cell) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else cell or ""


def _wrap(text: str, indent: str, first: str | None = None) -> str:
    """Return text in lines of at most `WIDTH` columns; a Korean character takes two."""
    from rich.padding import Padding
    from rich.text import Text

    lines = _render(Padding(Text(text), (0, 0, 0, len(indent)))).splitlines() or [""]
    lines[0] = (indent if first is None else first) + lines[0][len(indent) :]
    return "\n".join(lines)


def _render(renderable: object) -> str:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=WIDTH, color_system=None, force_terminal=False, highlight=False).print(renderable)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
