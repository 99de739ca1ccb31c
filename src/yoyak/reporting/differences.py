"""How a summary differs from a reference: by word, and within a word by syllable."""

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
    """A piece of text that both texts have, or only the summary, or only the reference."""

    kind: Kind
    text: str
    whole: bool = True
    """Whether it consists of whole words, to be separated from its neighbours; False inside a word."""


def find_nearest_reference(references: Sequence[str], summary: str) -> int:
    """Return the index of the reference that is most similar to the summary by character bigrams.

    Words would not do: with different particles, the same Korean noun is a different word. The first wins a tie; -1 if
    there are no references.
    """
    bigrams = _count_bigrams(summary)
    similarities = [_dice_coefficient(bigrams, _count_bigrams(reference)) for reference in references]
    return max(range(len(similarities)), key=lambda index: (similarities[index], -index), default=-1)


def compare(reference: str, summary: str) -> tuple[Segment, ...]:
    """Return the summary as segments: ``added`` is only in the summary, ``missing`` only in the reference.

    Without the missing segments, the joined text is the summary, character for character; without the added ones, it is
    the reference, up to whitespace.
    """
    old, new = reference.split(), re.findall(r"\S+", summary)
    spaces = re.split(r"\S+", summary)
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=False)
    segments = [Segment(kind="same", text=spaces[0])]
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        if tag == "equal":
            segments += [Segment(kind="same", text=new[j] + spaces[j + 1]) for j in range(j1, j2)]
        elif i2 - i1 == j2 - j1:
            segments += _compare_words(old[i1:i2], new[j1:j2], spaces[j1 + 1 : j2 + 1])
        else:
            segments += _replace(old[i1:i2], new[j1:j2], spaces[j1 + 1 : j2 + 1])
    return tuple(_merge(segments))


def _compare_words(old: Sequence[str], new: Sequence[str], spaces: Sequence[str]) -> Iterator[Segment]:
    """Yield the segments of two blocks of as many words; words that are mostly equal are compared by character."""
    start = 0
    for index, (before, after) in enumerate(zip(old, new, strict=True)):
        head, tail = _count_shared(before, after)
        if 2 * (head + tail) < max(len(before), len(after)):
            continue
        yield from _replace(old[start:index], new[start:index], spaces[start:index])
        start = index + 1
        yield Segment(kind="same", text=after[:head])
        yield Segment(kind="missing", text=before[head : len(before) - tail], whole=False)
        yield Segment(kind="added", text=after[head : len(after) - tail], whole=False)
        yield Segment(kind="same", text=after[len(after) - tail :] + spaces[index])
    yield from _replace(old[start:], new[start:], spaces[start:])


def _replace(old: Sequence[str], new: Sequence[str], spaces: Sequence[str]) -> Iterator[Segment]:
    yield Segment(kind="missing", text=" ".join(old))
    if new:
        inner = [word + space for word, space in zip(new[:-1], spaces[:-1], strict=True)]
        yield Segment(kind="added", text="".join(inner) + new[-1])
        yield Segment(kind="same", text=spaces[-1])


def _count_shared(before: str, after: str) -> tuple[int, int]:
    """Return how many characters two words share at the start and, of the rest, at the end."""
    limit = min(len(before), len(after))
    head = 0
    while head < limit and before[head] == after[head]:
        head += 1
    tail = 0
    while tail < limit - head and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    return head, tail


def _merge(segments: Sequence[Segment]) -> Iterator[Segment]:
    """Drop empty segments and join adjacent ones of the same kind."""
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


def _count_bigrams(text: str) -> Counter[str]:
    characters = "".join(text.split())
    return Counter(characters[start : start + 2] for start in range(len(characters)))


def _dice_coefficient(left: Counter[str], right: Counter[str]) -> float:
    total = left.total() + right.total()
    return 2 * (left & right).total() / total if total else 1.0
