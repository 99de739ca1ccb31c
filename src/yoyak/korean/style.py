"""The style in which Korean sentences end: 한다 and 했다 as in written reports, or 합니다 and 했습니다.

Only the end of a sentence changes: Kiwi analyses it, and joins the last stem and the other ending.
Sentences that end in another way, such as a question or a noun, stay as they are.
"""

from __future__ import annotations

import re
from typing import Any

from yoyak.korean.kiwi import analyse, join

_SENTENCE_END = re.compile(r"(?<=[.!?])(\s+)")
_PAST = ("었", "았", "겠", "였")
_POLITE = re.compile(r"(?:ᆸ|습)니다")
_PLAIN = re.compile(r"(?:ᆫ|는)?다")
_STEMS = ("VV", "VA", "VX", "VC", "XSV", "XSA")
"""Tags of what an ending follows, in the end."""
_STATES = ("VA", "VCP", "VCN", "XSA")
"""Tags of stems that end in 다 where a verb ends in ㄴ다 or 는다."""
_STATIVE = {"있", "없", "계시", "싶"}
"""Verbs and auxiliaries that end in 다 as well."""
_NEGATION = {"않", "못하"}
"""Auxiliaries that end as the stem before them does: 가지 않는다, 좋지 않다."""


def to_plain_style(text: str) -> str:
    """Return a text with its sentences in the style of 한다: ``예약했습니다.`` becomes ``예약했다.``"""
    return _map_sentences(text, _POLITE, _plain_ending)


def to_polite_style(text: str) -> str:
    """Return a text with its sentences in the style of 합니다: ``예약했다.`` becomes ``예약했습니다.``"""
    return _map_sentences(text, _PLAIN, lambda _: "ᆸ니다")


def _map_sentences(text: str, ending: re.Pattern[str], replace: Any) -> str:
    pieces = _SENTENCE_END.split(text)
    sentences = pieces[::2]
    pieces[::2] = [
        _change(sentence, tokens, ending, replace)
        for sentence, tokens in zip(sentences, analyse(sentences), strict=True)
    ]
    return "".join(pieces)


def _change(sentence: str, tokens: list[Any], ending: re.Pattern[str], replace: Any) -> str:
    """Return a sentence with another ending in place of its last one, if that is of the kind that is replaced."""
    last = next((index for index in range(len(tokens) - 1, -1, -1) if not tokens[index].tag.startswith("S")), None)
    if last is None or tokens[last].tag != "EF" or not ending.fullmatch(tokens[last].form):
        return sentence
    stem = next((index for index in range(last - 1, -1, -1) if tokens[index].tag.startswith(_STEMS)), None)
    if stem is None:
        return sentence
    before = [(token.form, token.tag) for token in tokens[:last]]
    # What precedes the stem is not analysed again, so that its spaces stay.
    changed = join([*before[stem:], (replace(before), "EF")])
    end = tokens[last].start + tokens[last].len
    return f"{sentence[: tokens[stem].start]}{changed}{sentence[end:]}"


def _plain_ending(before: list[tuple[str, str]]) -> str:
    """Return the ending that a sentence takes in the style of 한다 after these morphemes."""
    form, tag = before[-1]
    if tag == "EP" and form in ("시", "으시"):
        return _plain_ending(before[:-1]) if len(before) > 1 else "ᆫ다"
    if tag == "EP":
        return "다"
    if form in _NEGATION and tag.startswith("VX"):
        stem = next(((form, tag) for form, tag in reversed(before[:-1]) if tag.startswith(_STEMS)), ("", "VV"))
        return _plain_ending([stem])
    stative = tag.partition("-")[0] in _STATES or form in _STATIVE
    return "다" if stative else "ᆫ다"
