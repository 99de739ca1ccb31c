"""Other endings and particles of Korean sentences, found and written by Kiwi; English stays as it is."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from yoyak.data.augmenting.edits import Source, apply_some
from yoyak.data.records import Dialogue
from yoyak.korean.josa import particle
from yoyak.korean.kiwi import join

_PREDICATE = ("VV", "VA", "VX", "XSV", "XSA", "VCP", "VCN", "EP")
_FORMAL = ("ᆸ니다", "습니다", "ᆸ니까", "습니까")
_POLITE = ("어요", "아요", "에요", "예요")
_HONORIFIC = (("시", "EP"), ("으시", "EP"))
_DROPPED = {"JKS": ("이", "가"), "JKO": ("을", "를"), "JX": ("은", "는")}
"""Particles that speech can do without, by tag."""
_TRANSITIVE = (
    *("먹", "마시", "사", "팔", "받", "보내", "찾", "만들", "고르", "빌리", "쓰", "바꾸", "고치", "끝내", "보", "듣"),
    *("배우", "읽", "입", "챙기", "부르", "시키", "하"),
)
"""Verbs to whose object a particle is added where it was left out."""
_TIMES = (
    *("오늘", "내일", "모레", "어제", "그제", "지금", "아침", "저녁", "오전", "오후", "밤", "낮", "새벽", "주말"),
    *("평일", "요즘", "매일", "다음", "이번", "나중"),
)
"""Nouns that are no objects."""


def vary_endings(source: Source, rate: float, rng: random.Random) -> Dialogue | str:
    """Say 합니다 for 해요 and the other way round: ``내일 갈게요`` becomes ``내일 가겠습니다``."""
    return _vary(source, _find_endings, rate, rng)


def vary_particles(source: Source, rate: float, rng: random.Random) -> Dialogue | str:
    """Drop particles of subjects, topics and objects, and add those of objects: ``밥 먹어요``."""
    return _vary(source, _find_particles, rate, rng)


def _vary(
    source: Source,
    find: Callable[[str, Sequence[Any]], Iterator[tuple[int, int, str]]],
    rate: float,
    rng: random.Random,
) -> Dialogue | str:
    places = [
        (index, *place)
        for index, ((_, words), tokens) in enumerate(zip(source.turns, source.tokens, strict=True))
        for place in find(words, tokens)
    ]
    return apply_some(source, places, rate, rng)


def _find_endings(words: str, tokens: Sequence[Any]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and new text of each predicate at the end of a sentence that can end otherwise."""
    for index, token in enumerate(tokens):
        if token.tag != "EF":
            continue
        first = index
        while (
            first and tokens[first - 1].tag.split("-")[0] in _PREDICATE and _touches(tokens[first - 1], tokens[first])
        ):
            first -= 1
        stem = [(each.form, each.tag) for each in tokens[first:index]]
        start, end = tokens[first].start, token.start + token.len
        asks = words[end:].lstrip().startswith("?")
        new = _other_ending(words[:start], stem, token.form, asks) if stem else None
        if new is not None and new != words[start:end]:
            yield start, end, new


def _touches(left: Any, right: Any) -> bool:
    return bool(left.start + left.len >= right.start)


def _other_ending(before: str, stem: list[tuple[str, str]], ending: str, asks: bool) -> str | None:
    """Return the predicate with its other ending; None if it has none."""
    if stem[0][1] == "VCP" and len(stem) > 1:
        return None
    if ending in _FORMAL:
        if stem[0][1] == "VCP":
            return particle(before, "이에요") if before else None
        if stem[-1] in _HONORIFIC:
            return join([*stem[:-1], ("세요", "EF")]) if asks else None
        return join([*stem, ("어요", "EF")])
    if ending in _POLITE:
        return join([*stem, ("ᆸ니까" if asks else "ᆸ니다", "EF")])
    if ending in ("세요", "으세요"):
        # Else it may be a request, which 오십니다 is not.
        return join([*stem, ("시", "EP"), ("ᆸ니까", "EF")]) if asks else None
    if ending in ("ᆯ게요", "을게요"):
        return join([*stem, ("겠", "EP"), ("습니다", "EF")])
    return None


def _find_particles(words: str, tokens: Sequence[Any]) -> Iterator[tuple[int, int, str]]:
    """Yield start, end and new text of each particle that can be dropped, and of each place that can take one."""
    has_object = any(token.tag == "JKO" for token in tokens)
    for noun, token in pairwise(tokens):
        if noun.tag != "NNG":
            continue
        end = noun.start + noun.len
        joined, spaced = token.start == end, token.start == end + 1 and words[end] == " "
        written = words[token.start : token.start + token.len]
        if joined and written in _DROPPED.get(token.tag, ()) and words[token.start + token.len :][:1] == " ":
            yield token.start, token.start + token.len, ""
        elif (
            spaced
            and not has_object
            and token.tag.startswith("VV")
            and token.form in _TRANSITIVE
            and noun.form not in _TIMES
        ):
            yield end, end, particle(noun.form, "을")
