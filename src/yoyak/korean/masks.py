"""Masks: placeholders such as ``#Person1#``, ``#PhoneNumber#`` and ``#Card_Number#`` for private information.

`MASK` is the only pattern for them; everything that recognizes masks uses it. Its name begins with a capital ASCII
letter, so that hashtags (``#맛집#서울#``), ``C#`` and ``#3`` are not masks.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

MASK = re.compile(r"#[A-Z][A-Za-z_]*[0-9]*#")
_LAST_MASK = re.compile(rf"{MASK.pattern}$")
_STRAY = re.compile(r"[^\s#]*#\S*")


def find_masks(text: str) -> list[str]:
    """Return the masks in a text in order of occurrence, including repeated ones."""
    return MASK.findall(text)


def mask_at_end(text: str) -> str | None:
    """Return the mask that a text ends with, or None."""
    match = _LAST_MASK.search(text)
    return match.group() if match else None


def split_mask(mask: str) -> tuple[str, str]:
    """Return the name and the number of a mask, without its ``#``; the number may be empty."""
    name = mask.strip("#")
    stem = name.rstrip("0123456789")
    return stem, name[len(stem) :]


def count_masks(texts: Iterable[str]) -> dict[str, int]:
    """Return how often each mask occurs in the texts, the most frequent first, ties by name."""
    counts = Counter(mask for text in texts for mask in MASK.findall(text))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def distinct_masks(texts: Iterable[str]) -> list[str]:
    """Return the distinct masks in the texts, sorted with ``#Person2#`` before ``#Person10#``."""
    masks = {mask for text in texts for mask in MASK.findall(text)}
    return sorted(masks, key=_natural_key)


def find_stray_hashes(text: str) -> list[str]:
    """Return the words that contain a ``#`` outside a mask, such as the broken mask ``#Person1:``."""
    return _STRAY.findall(MASK.sub(" ", text)) if "#" in text else []


def _natural_key(mask: str) -> tuple[str, int, str, str]:
    name, number = split_mask(mask)
    digits = number.lstrip(
        "0"
    )  # Of numbers without leading zeros, the longer is larger: Python reads none of 5,000 digits.
    return name, len(digits), digits, mask
