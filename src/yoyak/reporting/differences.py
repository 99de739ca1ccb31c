"""Where a summary departs from a reference: words, and within a word the syllables that differ."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["same", "added", "missing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of text that both have, that only the summary has, or that only the reference has."""

    kind: Kind
    text: str
    whole: bool = True
    """Whole words, to be set apart from their neighbours; False inside a word."""


def nearest_reference(references: Sequence[str], summary: str) -> int:
    """Return the index of the reference that shares most pairs of neighbouring characters with the summary.

    Pairs and not words, because Korean particles make two words of one noun. The first of equals; -1 of none.
    """
    pairs = [_pairs(summary), *map(_pairs, references)]
    likeness = [_dice(pairs[0], other) for other in pairs[1:]]
    return max(range(len(likeness)), key=lambda place: (likeness[place], -place), default=-1)


def compare(reference: str, summary: str) -> tuple[Segment, ...]:
    """Return the summary's text with what the reference lacks as ``added`` and what it alone has as ``missing``.

    Without the missing segments the rest joined is the summary, character for character. Without the added ones
    it is the reference, up to whitespace.
    """
    old, new = reference.split(), re.findall(r"\S+", summary)
    spaces = re.split(r"\S+", summary)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    found: list[Segment] = [Segment(kind="same", text=spaces[0])]
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            found += [Segment(kind="same", text=new[j] + spaces[j + 1]) for j in range(j1, j2)]
        elif i2 - i1 == j2 - j1:
            found += _pairwise(old[i1:i2], new[j1:j2], spaces[j1 + 1 : j2 + 1])
        else:
            found += _replaced(old[i1:i2], new[j1:j2], spaces[j1 + 1 : j2 + 1])
    return tuple(_joined(found))


def _pairwise(old: Sequence[str], new: Sequence[str], spaces: Sequence[str]) -> Iterator[Segment]:
    """Yield a block of as many words on both sides, looking inside the words that are mostly the same."""
    start = 0
    for place, (before, after) in enumerate(zip(old, new, strict=True)):
        head, tail = _shared(before, after)
        if 2 * (head + tail) < max(len(before), len(after)):
            continue
        yield from _replaced(old[start:place], new[start:place], spaces[start:place])
        start = place + 1
        yield Segment(kind="same", text=after[:head])
        yield Segment(kind="missing", text=before[head : len(before) - tail], whole=False)
        yield Segment(kind="added", text=after[head : len(after) - tail], whole=False)
        yield Segment(kind="same", text=after[len(after) - tail :] + spaces[place])
    yield from _replaced(old[start:], new[start:], spaces[start:])


def _replaced(old: Sequence[str], new: Sequence[str], spaces: Sequence[str]) -> Iterator[Segment]:
    yield Segment(kind="missing", text=" ".join(old))
    if new:
        inner = [word + space for word, space in zip(new[:-1], spaces[:-1], strict=True)]
        yield Segment(kind="added", text="".join(inner) + new[-1])
        yield Segment(kind="same", text=spaces[-1])


def _shared(before: str, after: str) -> tuple[int, int]:
    """Return how many characters two words share at their start and, beyond that, at their end."""
    most = min(len(before), len(after))
    head = 0
    while head < most and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < most - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return head, tail


def _joined(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Yield the segments without empty ones, neighbours of one kind as one."""
    waiting: Segment | None = None
    for segment in segments:
        if not segment.text:
            continue
        if waiting and (waiting.kind, waiting.whole) == (segment.kind, segment.whole):
            waiting = Segment(kind=segment.kind, text=waiting.text + segment.text, whole=segment.whole)
            continue
        if waiting:
            yield waiting
        waiting = segment
    if waiting:
        yield waiting


def _pairs(text: str) -> Counter[str]:
    squeezed = "".join(text.split())
    return Counter(squeezed[place : place + 2] for place in range(len(squeezed)))


def _dice(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0
