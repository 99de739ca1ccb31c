"""Numbers in Korean and English text, in digits and in words, with their units.

오후 두 시 반, 14:30 and half past two are the same numbers: hour 2 (or 14) and minute 30. A number that may be none,
such as the 이 of 이 분 (two minutes, or this person), is not `sure`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

CLOCK = "o'clock"
MINUTE = "minute"
DAY = "day"
MONTH = "month of the year"
WEEKDAY = "weekday"
PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class Number:
    """A number as it is meant: 3만 원 is 30,000 won."""

    value: float
    unit: str = ""
    """A class of units, such as `CLOCK`; empty where there is none that is known."""
    text: str = ""
    """How it is written."""
    sure: bool = True
    """Whether it certainly is a number that says something."""

    def matches(self, other: Number) -> bool:
        """Return whether both may mean the same: an unknown unit fits any, and 14 o'clock is 2 o'clock."""
        if self.unit and other.unit and self.unit != other.unit:
            return False
        if CLOCK in (self.unit, other.unit):
            return self.value % 12 == other.value % 12
        return self.value == other.value


_SINO = {"영": 0, "공": 0, "일": 1, "이": 2, "삼": 3, "사": 4, "오": 5, "육": 6, "칠": 7, "팔": 8, "구": 9}
_NATIVE = {
    "하나": 1, "한": 1, "둘": 2, "두": 2, "셋": 3, "세": 3, "석": 3, "서": 3, "넷": 4, "네": 4, "넉": 4, "너": 4,
    "다섯": 5, "여섯": 6, "일곱": 7, "여덟": 8, "아홉": 9, "열": 10, "스물": 20, "스무": 20, "서른": 30, "마흔": 40,
    "쉰": 50, "예순": 60, "일흔": 70, "여든": 80, "아흔": 90,
}  # fmt: skip
_SMALL = {"십": 10, "백": 100, "천": 1000}
_LARGE = {"만": 10_000, "억": 100_000_000, "조": 1_000_000_000_000}
_KOREAN_PART = re.compile(
    "|".join(["[0-9][0-9,]*(?:[.][0-9]+)?", *sorted([*_SINO, *_NATIVE, *_SMALL, *_LARGE], key=len, reverse=True)])
)
_KOREAN_UNITS = {
    "시": CLOCK, "분": MINUTE, "초": "second", "시간": "hour", "일": DAY, "날": DAY, "주": "week", "주일": "week",
    "개월": "month", "달": "month", "월": MONTH, "년": "year", "해": "year", "살": "age", "세": "age", "원": "won",
    "달러": "dollar", "불": "dollar", "엔": "yen", "유로": "euro", "위안": "yuan", "%": "percent", "퍼센트": "percent",
    "프로": "percent", "명": PEOPLE, "사람": PEOPLE, "인": PEOPLE, "층": "floor", "호": "room", "호실": "room",
    "번": "times", "회": "times", "개": "piece", "인분": "serving", "박": "night", "미터": "metre", "km": "kilometre",
    "킬로미터": "kilometre", "kg": "kilogram", "킬로그램": "kilogram", "킬로": "", "병": "bottle", "잔": "cup",
    "권": "volume", "장": "sheet", "대": "machine", "마리": "animal", "도": "degree", "평": "pyeong",
}  # fmt: skip
_KOREAN_WORDS: dict[str, tuple[Number, ...]] = {
    **{f"{day}요일": (Number(index, WEEKDAY),) for index, day in enumerate("월화수목금토일")},
    **{f"{name}월": (Number(index, MONTH),) for index, name in enumerate(
        ("일", "이", "삼", "사", "오", "유", "칠", "팔", "구", "시", "십일", "십이"), 1)},
    "하루": (Number(1, DAY, sure=False),),
    **{word: (Number(days, DAY),) for word, days in {
        "이틀": 2, "사흘": 3, "나흘": 4, "닷새": 5, "엿새": 6, "여드레": 8, "아흐레": 9, "열흘": 10, "보름": 15
    }.items()},
    "일주일": (Number(7, DAY),),
    "이주일": (Number(14, DAY),),
    "정오": (Number(12, CLOCK),),
    "자정": (Number(12, CLOCK),),
    "둘": (Number(2, sure=False),),
    "하나": (Number(1, sure=False),),
}  # fmt: skip
"""Words that are numbers with their unit."""
_TIME = re.compile(r"(?<![\d:])(\d{1,2}):(\d{2})(?![\d:])")
_DIGITS = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")


def korean_numbers(text: str, tokens: Sequence[Any]) -> list[Number]:
    """Return the numbers of a Korean text; ``tokens`` are Kiwi's."""
    found = list(_times(text))
    index = 0
    while index < len(tokens):
        token = tokens[index]
        if token.tag.startswith("W_"):  # An address, an account or 10:30: its digits, unless they are a time.
            found += [] if _TIME.search(token.form) else _digits(token.form)
        elif _is_number(token) or _is_ten_thousand(text, tokens, index):
            end = _end_of_number(text, tokens, index)
            found += _number_with_unit(text, tokens, index, end)
            index = end
            continue
        elif token.form in _KOREAN_WORDS and token.tag.startswith("N"):
            found += [Number(each.value, each.unit, token.form, each.sure) for each in _KOREAN_WORDS[token.form]]
        index += 1
    return found


def _is_number(token: Any) -> bool:
    if token.tag == "MM":
        return token.form in _NATIVE or token.form == "만"
    return token.tag in ("SN", "NR") and _parse_korean(token.form) is not None


def _is_ten_thousand(text: str, tokens: Sequence[Any], index: int) -> bool:
    """Return whether a 만 that Kiwi reads as the particle is the number, as in 값 만 2천 원."""
    token = tokens[index]
    follows = index + 1 < len(tokens) and _is_number(tokens[index + 1])
    return token.form == "만" and token.tag == "JX" and text[token.start - 1 : token.start] == " " and follows


def _end_of_number(text: str, tokens: Sequence[Any], start: int) -> int:
    """Return the index after the last token of the number that begins at ``start``: 3만 5천, but not 삼 일."""
    end = start + 1
    while end < len(tokens) and _is_number(tokens[end]):
        before, token = tokens[end - 1], tokens[end]
        multiplied = before.form[-1] in "십백천만억조" or token.form[0] in "백천만억조"
        if token.tag == "SN" and before.tag == "SN":
            break
        joined = token.start == before.start + before.len
        if not multiplied and (not joined or {before.form, token.form} <= set(_SINO)):
            break
        end += 1
    return end


def _number_with_unit(text: str, tokens: Sequence[Any], start: int, end: int) -> Iterator[Number]:
    last = tokens[end - 1]
    following = tokens[end] if end < len(tokens) else None
    words = [token.form for token in tokens[start:end]]
    value = _parse_korean("".join(words))
    if value is None:
        return
    native = any(word in _NATIVE for word in words)
    unit, stop = "", last.start + last.len
    if following is not None and following.form in _KOREAN_UNITS and following.tag[0] in "NSWX":
        unit, stop = _KOREAN_UNITS[following.form], following.start + following.len
        if following.form == "분" and native:
            unit = PEOPLE
    written = text[tokens[start].start : stop]
    form = "".join(words)
    sure = bool(unit) or form[0].isdigit()
    if form == "이" and unit not in ("won", "percent", MONTH, "serving", "night", "month"):
        sure = False  # 이 층 is this floor or the second.
    if form == "한" and unit not in (CLOCK, "hour", "month"):
        sure = False  # As an article: 한 번, 한 명.
    if unit == PEOPLE and value <= 4:
        sure = False  # 두 사람: how many talk, or are talked about.
    yield _in_days(Number(value, unit, written, sure))
    after = tokens[end + 1] if end + 1 < len(tokens) else None
    if unit == CLOCK and after is not None and after.form == "반":
        yield Number(30, MINUTE, text[tokens[start].start : after.start + after.len])


def _parse_korean(form: str) -> float | None:
    """Return the value of a number such as ``3만5천``, ``이만오천`` or ``열두``; None if it is not one."""
    total = section = digit = 0.0
    pending, end = False, 0
    for part in _KOREAN_PART.finditer(form):
        if part.start() != end:
            return None
        end, word = part.end(), part.group()
        if word[0].isdigit():
            digit, pending = float(word.replace(",", "")), True
        elif word in _SINO:
            digit, pending = digit * 10 + _SINO[word] if pending else _SINO[word], True
        elif word in _NATIVE:
            digit, pending = digit + _NATIVE[word], True
        elif word in _SMALL:
            section += (digit if pending else 1) * _SMALL[word]
            digit, pending = 0.0, False
        else:
            total += ((section + digit) or 1) * _LARGE[word]
            section, digit, pending = 0.0, 0.0, False
    return total + section + digit if form and end == len(form) else None


_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_ENGLISH = {
    **{word: value for value, word in enumerate(_ONES)},
    **{
        word: 10 * tens
        for tens, word in enumerate(["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"], 2)
    },
    "dozen": 12,
}
_SCALES = {"hundred": 100, "thousand": 1000, "million": 1_000_000, "billion": 1_000_000_000}
_ENGLISH_UNITS = {
    "o'clock": CLOCK, "am": CLOCK, "pm": CLOCK, "a.m": CLOCK, "p.m": CLOCK, "minute": MINUTE, "min": MINUTE,
    "hour": "hour", "day": "day", "week": "week", "month": "month", "year": "year", "second": "second",
    "dollar": "dollar", "buck": "dollar", "euro": "euro", "cent": "cent", "won": "won", "percent": "percent",
    "%": "percent", "people": PEOPLE, "person": PEOPLE, "degree": "degree", "mile": "mile", "kilometer": "kilometre",
    "kilometre": "kilometre", "km": "kilometre", "kg": "kilogram", "times": "times", "floor": "floor",
}  # fmt: skip
_CURRENCIES = {"$": "dollar", "€": "euro", "₩": "won"}
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_MONTHS = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
]
_ENGLISH_TOKEN = re.compile(
    r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|[ap]\.m(?=\.)|[A-Za-z]+(?:['’][A-Za-z]+)?|[$€₩%]", re.IGNORECASE
)


def english_numbers(text: str) -> list[Number]:
    """Return the numbers of an English text."""
    found = list(_times(text))
    words = [(match.group().replace("’", "'"), match) for match in _ENGLISH_TOKEN.finditer(_TIME.sub(_blank, text))]
    index = 0
    while index < len(words):
        lowered = words[index][0].lower()
        if lowered[0].isdigit() or lowered in _ENGLISH:
            number, index = _read_english(text, words, index)
            found.append(number)
            continue
        # May is a month with its capital letter only, and even so may begin a question.
        if lowered in _DAYS or (lowered.endswith("s") and lowered[:-1] in _DAYS):
            found.append(Number(_DAYS.index(lowered.removesuffix("s")), WEEKDAY, words[index][0]))
        elif lowered in _MONTHS and words[index][0][0].isupper():
            sure = lowered not in ("may", "march")
            found.append(Number(_MONTHS.index(lowered) + 1, MONTH, words[index][0], sure))
        elif lowered in ("noon", "midnight", "midday"):
            found.append(Number(12, CLOCK, words[index][0]))
        elif lowered == "half" and index + 1 < len(words) and words[index + 1][0].lower() == "past":
            found.append(Number(30, MINUTE, "half past"))
        elif lowered == "quarter" and index + 1 < len(words) and words[index + 1][0].lower() in ("past", "to"):
            found.append(Number(15, MINUTE, "quarter"))
        elif lowered in ("a", "an") and index + 1 < len(words) and words[index + 1][0].lower() in _ENGLISH_UNITS:
            unit = _ENGLISH_UNITS[words[index + 1][0].lower()]
            found.append(_in_days(Number(1, unit, f"{lowered} {unit}", sure=False)))
        index += 1
    return found


def _read_english(text: str, words: Sequence[tuple[str, re.Match[str]]], start: int) -> tuple[Number, int]:
    """Return the number that begins at a word, and the index of the word after it."""
    total = section = 0.0
    index = start
    room = float("inf")  # What comes next must be smaller: three thirty is two numbers.
    while index < len(words):
        word = words[index][0].lower()
        if index > start and text[words[index - 1][1].end() : words[index][1].start()].strip(" -"):
            break
        if word[0].isdigit() and index == start:
            section, room = float(word.replace(",", "")), 0.0
        elif word in _ENGLISH and _ENGLISH[word] < room and not (_ENGLISH[word] == 0 and index > start):
            section += _ENGLISH[word]
            room = 10 if word.endswith("ty") else 0
        elif word in _SCALES and index > start:
            if word == "hundred":
                section, room = section * 100, 100
            else:
                total, section, room = total + section * _SCALES[word], 0.0, 1000
        elif word == "dozen" and index > start:
            section *= 12
        elif not (word == "and" and room == 100 and index + 1 < len(words) and words[index + 1][0].lower() in _ENGLISH):
            break
        index += 1
    unit = _CURRENCIES.get(words[start - 1][0], "") if start else ""
    begin, stop = words[start - bool(unit)][1].start(), words[index - 1][1].end()
    if not unit and index < len(words):
        following = words[index][0].lower()
        unit = _ENGLISH_UNITS.get(following) or _ENGLISH_UNITS.get(following.removesuffix("s"), "")
        stop = words[index][1].end() if unit else stop
    value, first = total + section, words[start][0].lower()
    # "one of them", "the two": they say how many talk.
    vague = first in ("one", "two") and index == start + 1 and (not unit or unit == PEOPLE)
    return _in_days(Number(value, unit, text[begin:stop], not vague)), index


def _in_days(number: Number) -> Number:
    """Return weeks as days, so that 2주 is 14일."""
    return replace(number, value=number.value * 7, unit=DAY) if number.unit == "week" else number


def _digits(text: str) -> list[Number]:
    return [Number(float(match.group().replace(",", "")), text=match.group()) for match in _DIGITS.finditer(text)]


def _times(text: str) -> Iterator[Number]:
    for match in _TIME.finditer(text):
        yield Number(float(match[1]), CLOCK, match.group())
        if int(match[2]):
            yield Number(float(match[2]), MINUTE, match.group())


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())
