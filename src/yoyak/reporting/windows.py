"""The table of dialogues that do not fit into a member's window, and what was done with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from yoyak import project
from yoyak.files import read_json_lines
from yoyak.params import Member, TrainedMember
from yoyak.reporting.formats import format_share
from yoyak.reporting.view import Table

WHOLE, READ = "whole", "read"
"""How most dialogues are read, and the key of a prediction that says how another one was."""


def make_table(root: Path, members: Mapping[str, Member], splits: Sequence[str]) -> Table | None:
    """Return the share of the dialogues of each split that each trained member has not read whole, and how it has.

    None if no member has a window.
    """
    trained = {name: member for name, member in members.items() if isinstance(member, TrainedMember)}
    if not trained:
        return None
    rows = []
    for name, member in trained.items():
        cells = [_format(_count(root / project.predictions_folder(name) / f"{split}.jsonl")) for split in splits]
        rows.append((name, f"{member.max_input_tokens:,}", _describe(member), *cells))
    columns = ("member", "tokens of its window", "reads of longer dialogues", *splits)
    return Table(title="Dialogues that do not fit into a member's window", columns=columns, rows=tuple(rows))


def _count(path: Path) -> Counter[str]:
    if not path.is_file():
        return Counter()
    return Counter(str(row.get(READ, WHOLE)) for row in read_json_lines(path))


def _describe(member: TrainedMember) -> str:
    ends = {"head": "the beginning", "tail": "the end", "both": "both ends"}[member.truncate]
    if member.windows is None:
        return ends
    return f"up to {member.windows.max_parts} parts, of more {ends}"


def _format(counts: Counter[str]) -> str:
    if not counts:
        return "–"
    ways = [how for how in sorted(counts) if how != WHOLE]
    share = sum(counts[how] for how in ways) / counts.total()
    return format_share(share) + (f" ({', '.join(f'{counts[how]:,} {how}' for how in ways)})" if ways else "")
