"""What the summary of a dialogue has to state, where the data say so: a column of facts, and its file in prepared/.

A cell of the column is a JSON object of kinds with lists of what is stated, such as ``{"time": ["저녁 7시"], "number":
["네 명|넷"], "wrong": ["세 명"]}``. A bar separates wordings that are equally right. Under ``wrong`` is what a summary
must not state, such as a time that was corrected later in the dialogue.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path

FactKind = Literal["number", "time", "date", "name", "thing", "mask"]
WRONG = "wrong"
_KEYS = (*get_args(FactKind), WRONG)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that a summary has to state."""

    kind: FactKind
    wordings: tuple[str, ...]
    """Any of them will do."""


@dataclass(frozen=True, slots=True)
class KnownFacts:
    """What is known of the summary of one dialogue."""

    stated: tuple[Fact, ...] = ()
    wrong: tuple[str, ...] = ()
    """What it must not state."""

    def __bool__(self) -> bool:
        return bool(self.stated or self.wrong)


NO_FACTS = KnownFacts()

SplitFacts = Mapping[str, Mapping[str, KnownFacts]]
"""By split and fname; dialogues of which nothing is known are left out."""


def parse_facts(cell: Any, where: str) -> KnownFacts:
    """Return the facts of a cell, which is a JSON object or its text; an empty cell has none.

    Raises UserError, beginning with ``where``, for anything else.
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return KnownFacts()
    try:
        value = json.loads(cell) if isinstance(cell, str) else cell
    except (json.JSONDecodeError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise UserError(f'{where}: facts must be a JSON object such as {{"time": ["7 pm"], "number": ["four"]}}.')
    for key, texts in value.items():
        if key not in _KEYS:
            raise UserError(f"{where}: '{key}' is not a kind of facts{nearest(key, _KEYS)}.")
        if not isinstance(texts, list) or not all(isinstance(text, str) and text.strip("| ") for text in texts):
            raise UserError(f"{where}: the facts under '{key}' must be a list of texts.")
    return KnownFacts(
        tuple(
            Fact(kind, tuple(wording.strip() for wording in text.split("|") if wording.strip()))
            for kind in get_args(FactKind)
            for text in value.get(kind, ())
        ),
        tuple(text.strip() for text in value.get(WRONG, ())),
    )


def dump_facts(facts: KnownFacts) -> dict[str, list[str]]:
    """Return what `parse_facts` reads, ready for JSON."""
    cell: dict[str, list[str]] = {}
    for fact in facts.stated:
        cell.setdefault(fact.kind, []).append("|".join(fact.wordings))
    return {**cell, **({WRONG: list(facts.wrong)} if facts.wrong else {})}


def write_facts(path: Path, splits: Mapping[str, Iterable[tuple[str, KnownFacts]]]) -> None:
    """Write the facts of all splits as JSON, each as ``(fname, facts)``, one after the other."""
    with atomic_path(path) as work, work.open("w", encoding="utf-8") as out:
        for number, (split, rows) in enumerate(splits.items()):
            out.write("{" if number == 0 else ",")
            out.write(f"\n  {json.dumps(split, ensure_ascii=False)}: {{")
            written = 0
            for name, facts in rows:
                value = json.dumps(dump_facts(facts), ensure_ascii=False, indent=2).replace("\n", "\n    ")
                out.write(f"{',' if written else ''}\n    {json.dumps(name, ensure_ascii=False)}: {value}")
                written += 1
            out.write("\n  }" if written else "}")
        out.write("\n}\n" if splits else "{}\n")


def read_facts(path: str | os.PathLike[str]) -> dict[str, dict[str, KnownFacts]]:
    """Read what `write_facts` wrote; nothing is known where there is no file."""
    file = Path(path)
    if not file.exists():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
        return {
            split: {name: parse_facts(cell, f"{file.as_posix()}, {name}") for name, cell in rows.items()}
            for split, rows in value.items()
        }
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{file.as_posix()} cannot be read ({error}): run the prepare stage again.") from error
