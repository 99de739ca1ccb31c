"""Units: the pieces of a summary that members vote on. Joining the units of a text restores the text.

Units do not depend on the members' tokenizers. At morpheme granularity a unit is a word without its particles, a
particle, a mask or a punctuation mark; verb endings cannot stand alone, so they stay with the verb. The forms of a
particle after a vowel and a consonant are the same unit, so that 은 and 는 vote together.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from yoyak.korean.josa import particle
from yoyak.korean.kiwi import analyse
from yoyak.korean.masks import MASK

_EOJEOL = re.compile(r"\S+")
_SYLLABLE = re.compile(rf"{MASK.pattern}|[A-Za-z]+|[0-9]+|\S")
_WORD = re.compile(rf"{MASK.pattern}|\w+(?:['’]\w+)*|[^\w\s]")

_PARTICLES = {"는": "은", "가": "이", "를": "을", "와": "과", "로": "으로", "랑": "이랑", "나": "이나"}
"""Maps the form after a vowel to the form after a consonant, which `josa` uses as the name of a particle."""
_SHAPES = {*_PARTICLES, *_PARTICLES.values()}
_NOMINAL = ("N", "XSN", "XR", "SL", "SN", "SH", "ETN", "J", "W")
"""Tags that a particle can follow."""


class Unit(NamedTuple):
    """A piece of a text."""

    key: str
    """Units with equal keys vote together."""
    text: str
    """Its spelling, with the whitespace before it."""
    before: str = ""
    """Key of the preceding unit in its own text; empty for the first."""
    particle: bool = False
    shape: str = ""
    """For a particle that depends on the final consonant: its form after a consonant."""
    nominal: bool = True
    """Whether a particle can follow it."""


CACHE_TEXTS = 10_000
_cache: dict[tuple[str, str], list[Unit]] = {}


def split(texts: Sequence[str], granularity: str) -> list[list[Unit]]:
    """Return the units of each text, after NFC normalization and stripping.

    Morphological analysis dominates the time of a vote, and the same texts are needed again for the votes without each
    member, so up to `CACHE_TEXTS` are cached before the cache is cleared. Callers must not modify the lists.
    """
    keys = [(granularity, unicodedata.normalize("NFC", text).strip()) for text in texts]
    new = [key for key in dict.fromkeys(keys) if key not in _cache]
    if len(_cache) + len(new) > CACHE_TEXTS:
        _cache.clear()
        new = list(dict.fromkeys(keys))
    if granularity == "morpheme":
        analysed = analyse([text for _, text in new])
        _cache.update({key: _merge_morphemes(key[1], tokens) for key, tokens in zip(new, analysed, strict=True)})
    else:
        pattern, name = _PATTERNS[granularity]
        _cache.update({key: _split_by_pattern(key[1], pattern, name) for key in new})
    return [_cache[key] for key in keys]


def join(units: Sequence[Unit]) -> str:
    """Return the text of units.

    A unit is adapted if it follows a different one than in its own text: a particle takes the right form, or is dropped
    where none can follow; a unit that began its text starts a new word.
    """
    joined, last = "", Unit("", "")
    for unit in units:
        text = unit.text
        if unit.particle and last.key != unit.before:
            if not joined or last.particle or not last.nominal:
                continue
            text = particle(joined, unit.shape) if unit.shape else text
        elif not unit.before and joined:
            text = f" {text}"
        joined += text
        last = unit
    return joined.strip()


def _split_by_pattern(text: str, pattern: re.Pattern[str], key: Callable[[str], str]) -> list[Unit]:
    units, end, before = [], 0, ""
    for match in pattern.finditer(text):
        units.append(Unit(key(match.group()), text[end : match.end()], before))
        end, before = match.end(), units[-1].key
    return units


def _merge_morphemes(text: str, tokens: Sequence[Any]) -> list[Unit]:
    spans: list[list[Any]] = []
    for token in tokens:
        start, end, kind = token.start, token.start + token.len, _kind(token.tag)
        if (spans and start < spans[-1][1]) or (spans and start == spans[-1][1] and kind == spans[-1][2] == "word"):
            # Morphemes fused into one syllable, such as 하 and 았 in 했, form one unit.
            spans[-1][1:] = [max(end, spans[-1][1]), "word" if kind == "particle" else kind, token.tag]
        elif text[start:end].strip():
            spans.append([start, end, kind, token.tag])
    units: list[Unit] = []
    end, before = 0, ""
    for start, stop, kind, tag in spans:
        # Characters skipped by the analyser are added to the next unit, so that nothing is lost.
        form, written = text[end:stop].strip(), text[end:stop]
        if kind == "particle" and text[start:stop] == form:
            shape = _PARTICLES.get(form, form) if form in _SHAPES else ""
            units.append(Unit(f"{shape or form}/{tag}", written, before, True, shape))
        else:
            units.append(Unit(form, written, before, nominal=tag.startswith(_NOMINAL)))
        end, before = stop, units[-1].key
    if text[end:].strip():
        units.append(Unit(text[end:].strip(), text[end:], before))
    return units


def _kind(tag: str) -> str:
    """Return the kind of unit that a morpheme belongs to, by its Sejong tag."""
    if tag.startswith("J"):
        return "particle"
    return "mark" if tag.startswith("S") and tag not in ("SL", "SN", "SH") else "word"


_PATTERNS: dict[str, tuple[re.Pattern[str], Callable[[str], str]]] = {
    "eojeol": (_EOJEOL, str),
    "syllable": (_SYLLABLE, str),
    "english": (_WORD, str.casefold),
}
