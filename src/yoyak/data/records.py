"""The pipeline's row type, a dialogue with its summaries, and its JSON-lines files."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from yoyak.files import atomic_path, read_json_lines


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
    return [Dialogue(**{**value, "summaries": tuple(value["summaries"])}) for value in read_json_lines(path)]
