"""Changes of a dialogue that must not change what its summary states."""

from __future__ import annotations

import re
from collections.abc import Sequence

from yoyak.korean.josa import particle
from yoyak.korean.masks import MASK

_PARTICLES = {"는": "은", "가": "이", "를": "을", "와": "과", "로": "으로", "랑": "이랑"}
"""Maps the form after a vowel to the form after a consonant."""
_FORMS = sorted({*_PARTICLES, *_PARTICLES.values()}, key=len, reverse=True)


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
        return name + particle(name, _PARTICLES.get(form, form)) if form else name

    # A particle ends its word, or else it is the beginning of something longer, such as 이야기.
    return re.sub(rf"({names})(?:({'|'.join(_FORMS)})(?![가-힣]))?", replace, text)


def _pattern(name: str) -> str:
    """Return a pattern for a whole name; a Latin one ends where its letters end, a Korean one may take a particle."""
    escaped = re.escape(name)
    if MASK.fullmatch(name):
        return escaped
    return rf"(?<!\w){escaped}(?![A-Za-z0-9])"
