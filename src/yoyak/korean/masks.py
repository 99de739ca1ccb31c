"""Masks: the placeholders such as ``#Person1#`` and ``#PhoneNumber#`` that stand for what must not be known.

A mask begins with a capital ASCII letter, so that hashtags (``#맛집#서울#``), ``C#`` and ``#3`` are none.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

MASK = re.compile(r"#[A-Z][A-Za-z_]*[0-9]*#")
_STRAY = re.compile(r"[^\s#]*#\S*")


def find_masks(text: str) -> list[str]:
    """Return the masks of a text in the order in which they occur, repeated ones too."""
    return MASK.findall(text)


def count_masks(texts: Iterable[str]) -> dict[str, int]:
    """Return how often each mask occurs in the texts, the most frequent first, equals by name."""
    counts = Counter(mask for text in texts for mask in MASK.findall(text))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def distinct_masks(texts: Iterable[str]) -> list[str]:
    """Return the different masks of the texts, sorted with ``#Person2#`` before ``#Person10#``."""
    masks = {mask for text in texts for mask in MASK.findall(text)}
    return sorted(masks, key=_natural_key)


def find_stray_hashes(text: str) -> list[str]:
    """Return the words that hold a ``#`` outside a mask, such as the broken mask ``#Person1:``."""
    return _STRAY.findall(MASK.sub(" ", text)) if "#" in text else []


def _natural_key(mask: str) -> tuple[str, int, str]:
    name = mask.strip("#")
    stem = name.rstrip("0123456789")
    return stem, int(name[len(stem) :] or 0), name
