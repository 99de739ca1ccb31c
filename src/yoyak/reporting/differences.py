"""How a summary differs from a reference: by words, and within a word by syllables."""

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
    """A piece of text that both have, that only the summary has, or that only the reference has."""

    kind: Kind
    text: str
    whole: bool = True
    """Whether it consists of whole words, to be separated from its neighbours; False inside a word."""


def nearest_reference(references: Sequence[str], summary: str) -> int:
    """Return the index of the reference that shares most character bigrams with the summary.

    Bigrams and not words, because particles make different words of the same Korean noun. Ties go to the first; -1 if
    there are no references.
    """
    bigrams = [_bigrams(summary), *map(_bigrams, references)]
    similarity = [_dice(bigrams[0], other) for other in bigrams[1:]]
    return max(range(len(similarity)), key=lambda index: (similarity[index], -index), default=-1)


def compare(reference: str, summary: str) -> tuple[Segment, ...]:
    """Return the summary as segments: ``added`` is what the reference lacks, ``missing`` what only the reference has.

    Joined without the missing segments they are the summary, character for character; without the added ones, the
    reference up to whitespace.
    """
    old, new = reference.split(), re.findall(r"\S+", summary)
    spaces = re.split(r"\S+", summary)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    segments = [Segment(kind="same", text=spaces[0])]
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            segments += [Segment(kind="same", text=new[j] + spaces[j + 1]) for j in range(j1, j2)]
        elif i2 - i1 == j2 - j1:
            segments += _pairwise(old[i1:i2], new[j1:j2], spaces[j1 + 1 : j2 + 1])
        else:
            segments += _replaced(old[i1:i2], new[j1:j2], spaces[j1 + 1 : j2 + 1])
    return tuple(_merge(segments))


def _pairwise(old: Sequence[str], new: Sequence[str], spaces: Sequence[str]) -> Iterator[Segment]:
    """Yield a block of equally many words on both sides, comparing the characters of words that are mostly equal."""
    start = 0
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        head, tail = _shared(before, after)
        if 2 * (head + tail) < max(len(before), len(after)):
            continue
        yield from _replaced(old[start:index], new[start:index], spaces[start:index])
        start = index + 1
        yield Segment(kind="same", text=after[:head])
        yield Segment(kind="missing", text=before[head : len(before) - tail], whole=False)
        yield Segment(kind="added", text=after[head : len(after) - tail], whole=False)
        yield Segment(kind="same", text=after[len(after) - tail :] + spaces[index])
    yield from _replaced(old[start:], new[start:], spaces[start:])


def _replaced(old: Sequence[str], new: Sequence[str], spaces: Sequence[str]) -> Iterator[Segment]:
    yield Segment(kind="missing", text=" ".join(old))
    if new:
        inner = [word + space for word, space in zip(new[:-1], spaces[:-1], strict=True)]
        yield Segment(kind="added", text="".join(inner) + new[-1])
        yield Segment(kind="same", text=spaces[-1])


def _shared(before: str, after: str) -> tuple[int, int]:
    """Return how many characters two words share at the start and, of the rest, at the end."""
    most = min(len(before), len(after))
    head = 0
    while head < most and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < most - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return head, tail


def _merge(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Yield the segments without empty ones, adjacent ones of the same kind as one."""
    pending: Segment | None = None
    for segment in segments:
        if not segment.text:
            continue
        if pending and (pending.kind, pending.whole) == (segment.kind, segment.whole):
            pending = Segment(kind=segment.kind, text=pending.text + segment.text, whole=segment.whole)
            continue
        if pending:
            yield pending
        pending = segment
    if pending:
        yield pending


def _bigrams(text: str) -> Counter[str]:
    letters = "".join(text.split())
    return Counter(letters[start : start + 2] for start in range(len(letters)))


def _dice(one: Counter[str], other: Counter[str]) -> float:
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 1.0
