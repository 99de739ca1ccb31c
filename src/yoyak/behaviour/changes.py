"""Changes of a dialogue that must not change what its summary states, and all dialogues that cases summarize."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from yoyak.behaviour.cases import Case, CaseFile
from yoyak.korean.josa import PARTICLE, agree
from yoyak.korean.masks import MASK


@dataclass(frozen=True, slots=True)
class Change:
    """A changed dialogue, to be summarized and compared."""

    check: str
    case: Case
    text: str
    speakers: tuple[str, str] | None = None
    """The speakers that were swapped."""


def texts_of(files: Iterable[CaseFile]) -> list[str]:
    """Return every dialogue of the files that is summarized, changed ones included, each once."""
    texts = [text for file in files for text in (*map(text_of, file.dialogues), *(c.text for c in changes_of(file)))]
    return list(dict.fromkeys(texts))


def text_of(case: Case) -> str:
    """Return the dialogue of a case as it is summarized."""
    return _join(case.turns)


def changes_of(file: CaseFile) -> Iterator[Change]:
    """Yield the changed versions of a file's dialogues."""
    for number, case in enumerate(file.dialogues):
        turns = case.turns
        if file.fillers and len(turns) > 1:
            fillers = [file.fillers[(number + shift) % len(file.fillers)] for shift in range(2)]
            yield Change("filler_changed", case, _join(add_filler(turns, fillers)))
        if case.reorder:
            yield Change("order_changed", case, _join(reorder(turns, *case.reorder)))
        if case.swap and len(case.speakers) > 1:
            one, other = case.speakers[:2]
            yield Change("swap_changed", case, swap_names(text_of(case), one, other), (one, other))


def _join(turns: Sequence[str]) -> str:
    return "\n".join(turns)


def add_filler(turns: Sequence[str], fillers: Sequence[str]) -> list[str]:
    """Return turns with a filler before the middle one and before the last, each from who speaks next."""
    changed = list(turns)
    positions = sorted({len(turns) // 2, len(turns) - 1}, reverse=True)
    for index, position in enumerate(positions):
        speaker = turns[position].partition(":")[0]
        changed.insert(position, f"{speaker}: {fillers[index % len(fillers)]}")
    return changed


def reorder(turns: Sequence[str], first: int, second: int) -> list[str]:
    """Return turns with two of them, counted from 1, in each other's place."""
    changed = list(turns)
    changed[first - 1], changed[second - 1] = changed[second - 1], changed[first - 1]
    return changed


def swap_names(text: str, one: str, other: str) -> str:
    """Return a text with two names or masks swapped, each with the particle that agrees with it.

    Swapping twice gives the text itself, if its particles agree with the names.
    """
    partner = {one: other, other: one}
    names = "|".join(_pattern(name) for name in sorted(partner, key=len, reverse=True))

    def replace(match: re.Match[str]) -> str:
        name, form = partner[match[1]], match[2]
        return name + agree(name, form) if form else name

    return re.sub(rf"({names})({PARTICLE})?", replace, text)


def _pattern(name: str) -> str:
    """Return a pattern for a whole name; a Latin one ends where its letters end, a Korean one may take a particle."""
    escaped = re.escape(name)
    if MASK.fullmatch(name):
        return escaped
    return rf"(?<!\w){escaped}(?![A-Za-z0-9])"
