"""The turns of a dialogue, and which parts of them have to stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from yoyak.korean.masks import MASK

_CLOCK = r"(?<=\d[:：])[0-5]\d(?!\d)"
_LABEL = re.compile(rf"(?:(?=[^\s:：]*[^\W\d])[^\s:：]{{1,40}}(?: [^\s:：]{{1,40}})?\s?[:：](?!//|{_CLOCK})\s*)?")
"""Up to two words and a colon, as in ``#Person1#:`` and ``김 대리:``, that is not the one of a time or an address."""
_HANGUL = re.compile("[가-힣]")
_LONG_WORD = re.compile("[가-힣]{2,}|[A-Za-z]{4,}")
_WORD = re.compile(r"\S+")
_FIXED = re.compile(rf"{MASK.pattern}|(?<!\S)\S*[\d#@/]\S*|\b[A-Z]\S*")


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a turn, with its marks."""

    text: str
    start: int
    end: int
    fixed: bool
    """Whether it has to stay as it is: it belongs to a mask, a number or a name."""


def split_label(line: str) -> tuple[str, str]:
    """Return the speaker's label, possibly empty, and the words."""
    match = _LABEL.match(line)
    end = match.end() if match else 0
    return line[:end], line[end:]


def split_turns(dialogue: str) -> list[tuple[str, str]]:
    """Return the label and the words of each turn."""
    return [split_label(line) for line in dialogue.split("\n")]


def join_turns(turns: Iterable[tuple[str, str]]) -> str:
    """Return the dialogue that `split_turns` split."""
    return "\n".join(label + words for label, words in turns)


def is_korean(text: str) -> bool:
    """Return whether there is any Hangul; other text is treated as English."""
    return _HANGUL.search(text) is not None


def split_words(words: str, literals: Sequence[str]) -> list[Word]:
    """Return the words of a turn; those that overlap with one of ``literals``, a mask or digits are fixed."""
    spans = [match.span() for match in _FIXED.finditer(words)]
    spans += [match.span() for literal in literals for match in re.finditer(re.escape(literal), words)]
    return [
        Word(match.group(), *match.span(), any(start < match.end() and match.start() < end for start, end in spans))
        for match in _WORD.finditer(words)
    ]


def stem(word: str) -> str:
    """Return the beginning of a word: particles and endings come later."""
    return word[:2] if is_korean(word) else word[:4].lower()


def stems(texts: Iterable[str]) -> frozenset[str]:
    """Return the beginning of each word of two syllables, or four letters, or more."""
    return frozenset(stem(word) for text in texts for word in _LONG_WORD.findall(text))
