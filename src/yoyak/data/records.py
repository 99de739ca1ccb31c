"""The pipeline's row type, a dialogue with its summaries, and its JSON-lines files."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TypeVar

from yoyak.files import atomic_path, iter_json_lines

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """One dialogue with its reference summaries."""

    fname: str
    """Identifier, unique within its split."""
    dialogue: str
    """Turns joined by a newline, each ``#Person1#: text``."""
    summaries: tuple[str, ...] = ()
    """Reference summaries; empty only in a file to be summarized."""
    topic: str = ""
    slice: str = ""
    """Label of a subset that is scored separately, such as ``seen`` or ``unseen``."""
    group: str = ""
    """In train: key of rows that must stay together, such as a conversation's; empty where there is none."""
    source: str = ""
    """In train: fname of the row that augmentation made this one from; empty for rows of the data files."""
    method: str = ""
    """In train: how augmentation made this row; empty for rows of the data files."""


def write_jsonl(path: str | os.PathLike[str], rows: Iterable[Dialogue]) -> None:
    """Write one JSON object per line as UTF-8, all rows or nothing."""
    with atomic_path(path) as work, work.open("w", encoding="utf-8", newline="\n") as out:
        for row in rows:
            values = asdict(row)
            for name in ("group", "source", "method"):
                if not values[name]:
                    del values[name]
            out.write(json.dumps(values, ensure_ascii=False) + "\n")


def read_jsonl(path: str | os.PathLike[str]) -> list[Dialogue]:
    """Read what `write_jsonl` wrote."""
    return list(DialogueFile(path))


class DialogueFile(Collection[Dialogue]):
    """The rows of a file of `write_jsonl`, read one by one each time that they are iterated."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def __iter__(self) -> Iterator[Dialogue]:
        for value in iter_json_lines(self.path):
            yield Dialogue(**{**value, "summaries": tuple(value["summaries"])})

    def __len__(self) -> int:
        return self._count

    def __contains__(self, row: object) -> bool:
        return any(each == row for each in self)

    @cached_property
    def _count(self) -> int:
        with self.path.open("rb") as lines:
            return sum(1 for _ in lines)


def in_parts(values: Iterable[Value], size: int) -> Iterator[list[Value]]:
    """Yield lists of up to ``size`` consecutive values, none of them empty."""
    remaining = iter(values)
    while part := list(islice(remaining, size)):
        yield part
