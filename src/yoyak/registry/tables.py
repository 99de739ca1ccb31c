"""Versions, comparisons and histories as aligned text for people, at most `WIDTH` columns wide.

Scores on gate are left out: nobody should select by them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from yoyak.project import GATE
from yoyak.registry.comparing import Example, ScoreDifference, VersionComparison
from yoyak.registry.queries import METRIC, SPLIT, VersionInfo
from yoyak.scoring.metrics import METRICS
from yoyak.tracking.decisions import Entry, Verdict

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
            info.created[:10],
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
    """Return everything about one version but its description, which is a page of its own in MLflow."""
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
            f"{alias} since": _describe_move(info.tags, alias, when)
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
    shown = {split: scores for split, scores in sorted(info.scores.items()) if split != GATE}
    if shown:
        metrics = _order({metric for scores in shown.values() for metric in scores})
        rows = [(split, *(scores.get(metric) for metric in metrics)) for split, scores in shown.items()]
        parts.append(_table(("split", *metrics), rows))
    return "\n\n".join(parts)


def format_comparison(comparison: VersionComparison) -> str:
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
    return _table(("no.", "when (UTC)", "who", "what", "champion", "commit", "why"), rows, wrapped=True)


def format_verdict(verdict: Verdict) -> str:
    """Return what the gate found: its outcome, figures and checks."""
    facts = {
        "outcome": verdict.outcome,
        "champion": f"version {verdict.champion}, challenger number {verdict.attempt}" if verdict.attempt else "",
        "dialogues": str(verdict.dialogues) if verdict.dialogues else "",
    }
    rows = [(check.name, "passed" if check.passed else "failed", check.sentence) for check in verdict.checks]
    parts = [_facts({name: value for name, value in facts.items() if value})]
    parts.append(_table(("check", "result", "why"), rows, wrapped=True) if rows else _wrap(verdict.sentence, ""))
    return "\n\n".join(parts)


def _comparison_parts(comparison: VersionComparison) -> Iterator[str]:
    yield format_versions(comparison.versions)
    splits = sorted({split for info in comparison.versions for split in info.scores} - {GATE})
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
        yield f"{_wrap(title, '')}\n{_table(('version', 'split', 'difference', 'interval', 'p', 'dialogues'), rows)}"
    yield "\n".join(_wrap(problem, "") for problem in comparison.problems)
    if not comparison.params:
        yield "No recorded param differs."
    for start in range(0, len(comparison.versions) if comparison.params else 0, PER_TABLE):
        labels = [info.label for info in comparison.versions[start : start + PER_TABLE]]
        values = [(param.key, *param.values[start : start + PER_TABLE]) for param in comparison.params]
        yield _table(("param", *labels), values)
    for example in comparison.examples:
        yield _format_example(example)


def _describe_test(test: ScoreDifference) -> tuple[str, ...]:
    interval = f"[{test.low:+.4f}, {test.high:+.4f}]"
    return f"{test.difference:+.4f}", interval, f"{test.p_value:.4f}", str(test.dialogues)


def _format_example(example: Example) -> str:
    lines = [f"{example.fname} ({example.split})"]
    lines += [_wrap(turn, "    ") for turn in example.dialogue.splitlines()]
    lines += [
        _wrap(f"{label} ({example.scores[label]:.4f}): {summary}", "  ") for label, summary in example.summaries.items()
    ]
    return "\n".join(lines)


def _describe_move(tags: Mapping[str, str], alias: str, when: str) -> str:
    """Return when and by whom a version got an alias, and which version had it before."""
    before = tags.get(f"alias.{alias}.from", "none")
    after = "" if before == "none" else f", after version {before}"
    return f"{when}, by {tags.get(f'alias.{alias}.who', 'somebody')}{after}"


def _describe_commit(info: VersionInfo, characters: int) -> str:
    return f"{info.commit[:characters]}{'-dirty' if info.dirty else ''}" if info.commit else ""


def _order(metrics: set[str]) -> list[str]:
    known = [metric for metric in METRICS if metric in metrics]
    return [*known, *sorted(metrics - set(known))]


def _chunks(versions: Sequence[VersionInfo]) -> Iterator[Sequence[VersionInfo]]:
    for start in range(0, len(versions), PER_TABLE):
        yield versions[start : start + PER_TABLE]


def _facts(facts: dict[str, str]) -> str:
    indent = max(map(len, facts)) + 2
    return "\n".join(_wrap(value, " " * indent, first=name.ljust(indent)) for name, value in facts.items())


def _table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], wrapped: bool = False) -> str:
    """Return rows below titles. What does not fit is cut off where a column is widest, or wrapped in the last one."""
    from rich.cells import cell_len, set_cell_size

    texts = [list(titles), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(cell_len(row[column]) for row in texts) for column in range(len(titles))]
    numeric = [any(isinstance(row[column], float) for row in rows) for column in range(len(titles))]
    space = WIDTH - 2 * (len(widths) - 1)
    if wrapped:
        widths[-1] = min(widths[-1], space - sum(widths[:-1]))
    while sum(widths) > space:
        # Without its first column, a row is of no use.
        widest = max(range(1, len(widths)), key=widths.__getitem__)
        widths[widest] -= 1
    lines = []
    for row in texts:
        cells = [
            f"{set_cell_size(text, width - 1)}…" if cell_len(text) > width else set_cell_size(text, width)
            for text, width in zip(row, widths, strict=True)
        ]
        cells = [
            " " * (width - cell_len(text.rstrip())) + text.rstrip() if right else text
            for text, width, right in zip(cells, widths, numeric, strict=True)
        ]
        if wrapped:
            before = "".join(f"{cell}  " for cell in cells[:-1])
            lines.append(_wrap(row[-1], " " * len(before), first=before))
        else:
            lines.append("  ".join(cells))
    return "\n".join(line.rstrip() for line in "\n".join(lines).splitlines())


def _text(cell: Cell) -> str:
    return f"{cell:.4f}" if isinstance(cell, float) else " ".join((cell or "").split())


def _wrap(text: str, indent: str, first: str | None = None) -> str:
    """Return text in lines of at most `WIDTH` columns; a Korean character takes two."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.text import Text

    indent = " " * (len(indent) if first is None else cell_len(first))
    lines = [line.plain.rstrip() for line in Text(text).wrap(Console(width=WIDTH), WIDTH - len(indent))] or [""]
    lines[0] = (indent if first is None else first) + lines[0]
    return "\n".join([lines[0], *(f"{indent}{line}" for line in lines[1:])])
