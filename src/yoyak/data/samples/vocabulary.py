"""Open vocabularies for pretraining: far more values than the lists of `slots`, so that a model learns to copy them.

Numbers are drawn, names are put together from syllables, and things from an attribute and a noun.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache

from yoyak.data.samples import words
from yoyak.data.samples.slots import SLOTS, Value

DRAWN = 6
"""Values drawn for a slot; one of them is said, and one may be the mistake that is corrected."""
_KNOWN = 0.3
"""Probability of the values of the list itself, where it has some."""

_ONES = ("한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉", "열")
_TENS = ("열", "스물", "서른", "마흔")
_DAYS = ("하루", "이틀", "사흘", "나흘", "닷새", "엿새", "일주일", "열흘", "보름")
_PARTS_OF_DAY = {"새벽": range(1, 7), "아침": range(6, 10), "오전": range(8, 12), "낮": (12, 1, 2), "오후": range(1, 7),
                 "저녁": range(5, 10), "밤": range(8, 13)}  # fmt: skip


@cache
def _words(text: str) -> tuple[str, ...]:
    """Return the words of a list, in which an underscore is a space within a word."""
    return tuple(word.replace("_", " ") for word in text.split())


def _pairs(text: str) -> tuple[Value, ...]:
    return tuple(Value(*pair.strip().split("=")) for pair in text.split("|"))


_Draw = Callable[[random.Random], "str | Value"]


def _one_of(text: str) -> _Draw:
    choices = _words(text)
    return lambda rng: rng.choice(choices)


def _pair_of(*lists: str) -> _Draw:
    pairs = tuple(pair for text in lists for pair in _pairs(text))
    return lambda rng: rng.choice(pairs)


def _native(unit: str, most: int) -> _Draw:
    """Return what draws a number in native words, such as 스물두 명."""

    def draw(rng: random.Random) -> str:
        number = rng.randint(2, most)
        tens, ones = divmod(number, 10)
        if number == 20:
            return f"스무 {unit}"
        return f"{_TENS[tens - 1] if tens else ''}{_ONES[ones - 1] if ones else ''} {unit}"

    return draw


def _money(*steps: int, prefix: str = "") -> _Draw:
    """Return what draws an amount of won that is a multiple of one of the steps, 1 to 99 times it."""

    def draw(rng: random.Random) -> str:
        amount = rng.choice(steps) * rng.randint(1, 99)
        large, small = divmod(amount, 10_000)
        thousands, rest = divmod(small, 1000)
        text = " ".join(
            [f"{large}만" if large else "", f"{thousands}천" if thousands else "", f"{rest}" if rest else ""]
        )
        return f"{prefix}{' '.join(text.split())} 원"

    return draw


def _clock(*parts: str) -> _Draw:
    def draw(rng: random.Random) -> str:
        part = rng.choice(parts)
        minutes = rng.choice(("", "", " 반", f" {rng.randint(1, 11) * 5}분"))
        return f"{part} {rng.choice(_PARTS_OF_DAY[part])}시{minutes}"

    return draw


def _date(rng: random.Random) -> str:
    return f"{rng.randint(1, 12)}월 {rng.randint(1, 28)}일"


def _day(rng: random.Random) -> str:
    return f"{rng.choice(('', '', '다음 주 ', '이번 주 '))}{rng.choice('월화수목금토일')}요일"


def _name(rng: random.Random) -> str:
    syllables = words.SYLLABLES.split()
    return rng.choice(syllables) + rng.choice(syllables)


def _brand(*endings: str) -> _Draw:
    return lambda rng: f"{_name(rng)}{rng.choice(endings)}"


def _thing(rng: random.Random) -> str:
    noun = rng.choice(_words(words.THINGS))
    kind = rng.random()
    if kind < 0.5:
        return noun
    return f"{rng.choice(_words(words.ATTRIBUTES)) if kind < 0.85 else _name(rng)} {noun}"


def _show(rng: random.Random) -> str:
    first, second = rng.sample(_words(words.SHOWS), 2)
    return f"'{first} {second}'"


def _period(rng: random.Random) -> str:
    count = rng.randint(2, 11)
    return rng.choice((f"{count}주", f"{count}개월", f"{count}일", f"{count}박", "한 달", "두 달", *_DAYS))


_DRAWS: dict[str, _Draw] = {
    "thing": _thing,
    **dict.fromkeys(("device", "clothes", "gift", "parcel", "luggage", "car_part", "book", "phone_data"), _thing),
    "course": _one_of(words.COURSES),
    "sport": _one_of(words.COURSES),
    "venue": _one_of(words.VENUES),
    "activity": _one_of(words.ACTIVITIES),
    "outing": _one_of(words.ACTIVITIES),
    "exam": _one_of(words.EXAMS),
    "checkup": _one_of(words.EXAMS),
    "agenda": _one_of(words.AGENDAS),
    "document": _one_of(words.DOCUMENTS),
    "leave": _one_of(words.LEAVES),
    "account": _one_of(words.ACCOUNTS),
    "transport": _one_of(words.TRANSPORTS),
    **dict.fromkeys(("menu", "home_dish", "stew", "party_food"), _one_of(words.DISHES)),
    "grocery": _one_of(words.GROCERIES),
    "ingredient": _one_of(words.GROCERIES),
    "subject": _one_of(words.SUBJECTS),
    "paper_topic": _one_of(words.TOPICS),
    "job": _one_of(words.JOBS),
    "pet": _one_of(words.PETS),
    "body": _one_of(words.BODY),
    **dict.fromkeys(("task", "task2"), _one_of(words.TASKS)),
    **dict.fromkeys(("room", "car", "home_type"), _one_of(words.ROOMS)),
    "show": _show,
    **dict.fromkeys(("reason", "student_reason", "leave_reason", "lateness"), _pair_of(words.CAUSES)),
    **dict.fromkeys(("defect", "phone_trouble", "house_trouble"), _pair_of(words.FAULTS)),
    **dict.fromkeys(("city", "trip_city", "country"), _one_of(words.CITIES)),
    "color": _one_of(words.COLORS),
    "relation": _one_of(words.RELATIONS),
    **dict.fromkeys(
        ("meet_place", "building", "indoor", "meet_stop", "party_place", "drop_place"), _one_of(words.PLACES)
    ),
    **dict.fromkeys(("landmark", "lost_at", "part_time"), _one_of(words.PLACES)),
    "name": _name,
    "restaurant": _brand("식당", "반점", "갈비", "횟집", "분식", "칼국수", "카페", "파스타"),
    "station": _brand("역"),
    "mountain": _brand("산"),
    **dict.fromkeys(("people", "group"), _native("명", 49)),
    "pieces": _native("개", 30),
    "sheets": _native("장", 30),
    "book_count": _native("권", 20),
    "stops": _native("정거장", 15),
    **dict.fromkeys(("price", "course_price", "move_price", "amount", "rent"), _money(5000, 10_000, 10_000)),
    **dict.fromkeys(("small_price", "wage"), _money(500, 1000)),
    "fee": _money(1000, 5000, prefix="월 "),
    "percent": lambda rng: f"{rng.randint(1, 19) * 5}%",
    "minutes": lambda rng: f"{rng.randint(1, 11) * 5}분",
    "gigabytes": lambda rng: f"{rng.randint(1, 60) * 5}기가",
    **dict.fromkeys(("weeks", "nights", "months", "off_days", "repair_time"), _period),
    **dict.fromkeys(("time",), _clock("오전", "오후", "낮")),
    "evening": _clock("저녁", "밤"),
    "early_time": _clock("새벽", "아침"),
    "late": _clock("밤", "새벽"),
    "date": _date,
    **dict.fromkeys(("day", "weekday"), _day),
    "line": lambda rng: f"{rng.randint(1, 9)}호선",
    "bus": lambda rng: f"{rng.randint(2, 999)}번 버스",
}
"""What draws a value of a list; other lists are closed."""


class OpenVocabulary(Mapping[str, Sequence[Value]]):
    """Values by the name of their list, drawn anew each time they are asked for."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __getitem__(self, name: str) -> Sequence[Value]:
        draw = _DRAWS.get(name)
        if draw is None or (name in SLOTS and self._rng.random() < _KNOWN):
            return SLOTS[name]
        return [value if isinstance(value, Value) else Value(value, value) for value in self._draw(draw)]

    def __iter__(self) -> Iterator[str]:
        return iter({**SLOTS, **_DRAWS})

    def __len__(self) -> int:
        return len({**SLOTS, **_DRAWS})

    def _draw(self, draw: _Draw) -> list[str | Value]:
        return list(dict.fromkeys(draw(self._rng) for _ in range(DRAWN)))
