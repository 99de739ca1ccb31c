"""Numbers in words and digits, with units: what is one, what may be one, and which are the same."""

from __future__ import annotations

import pytest

from yoyak.korean.facts import find_facts, find_made_up
from yoyak.korean.numbers import Number


def numbers(text: str) -> list[Number]:
    return list(find_facts([text])[0].numbers)


def sure(text: str) -> set[tuple[float, str]]:
    return {(number.value, number.unit) for number in numbers(text) if number.sure}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("오후 두 시 반에 만나요.", {(2, "o'clock"), (30, "minute")}),
        ("네 시 이십 분이요.", {(4, "o'clock"), (20, "minute")}),
        ("10:30에 봐요.", {(10, "o'clock"), (30, "minute")}),
        ("열두 시 정각", {(12, "o'clock")}),
        ("3만 5천 원을 낸다.", {(35_000, "won")}),
        ("이만오천 원이에요.", {(25_000, "won")}),
        ("역사책 값 만 2천 원을 낸다.", {(12_000, "won")}),
        ("시급은 만 천 원이에요.", {(11_000, "won")}),
        ("12,000원입니다.", {(12_000, "won")}),
        ("스물다섯 명을 초대했어요.", {(25, "people")}),
        ("20퍼센트 할인, 15%도 있어요.", {(20, "percent"), (15, "percent")}),
        ("사흘 뒤에 봐요.", {(3, "day")}),
        ("일주일 뒤에 봐요.", {(7, "day")}),
        ("2주 뒤에 봐요.", {(14, "day")}),
        ("3월 15일 수요일에 봐요.", {(3, "month of the year"), (15, "day"), (2, "weekday")}),
        ("육 개월 할부로 샀어요.", {(6, "month")}),
        ("Meet at half past two on Friday.", {(30, "minute"), (4, "weekday")}),
        ("It's $12,000 or twenty-five dollars.", {(12_000, "dollar"), (25, "dollar")}),
        ("two hundred and fifty people", {(250, "people")}),
        ("at 3pm, not at 4:15 p.m.", {(3, "o'clock"), (4, "o'clock"), (15, "minute")}),
        ("It takes three weeks.", {(21, "day")}),
        ("two hundred, three dozen", {(200, ""), (36, "")}),
    ],
)
def test_numbers_are_read_with_their_units(text: str, expected: set[tuple[float, str]]) -> None:
    assert sure(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "이번 주에 이 분이 오세요.",
        "네, 시간이 있어요.",
        "두 사람은 한 번 더 이야기한다.",
        "이 층에는 사람이 없어요.",
        "#Person1#은 오늘도 일만 하고 있다.",
        "The two agree that one of them pays.",
        "She may come.",
    ],
)
def test_what_only_looks_like_a_number_does_not_count(text: str) -> None:
    assert sure(text) == set()


@pytest.mark.parametrize(
    ("summary", "dialogue"),
    [
        ("14시에 만난다.", "#Person1#: 오후 두 시에 만나요."),
        ("2시 30분에 만난다.", "#Person1#: 두 시 반에 만나요."),
        ("오만 원을 낸다.", "#Person1#: 5만 원 주세요."),
        ("3시에 만난다.", "#Person1#: 3시에 봐."),
        ("7일 뒤에 만난다.", "#Person1#: 일주일 뒤에 봐요."),
        ("They meet at 2:30.", "#Person1#: Let's meet at half past two."),
        ("They meet at 3:30.", "#Person1#: Let's say three thirty."),
        ("It costs 25 dollars.", "#Person1#: That's twenty-five dollars."),
        ("The call lasts one hour.", "#Person1#: It takes an hour."),
    ],
)
def test_the_same_number_may_be_written_differently(summary: str, dialogue: str) -> None:
    assert find_made_up([summary], [dialogue])[0]["numbers"] == []


@pytest.mark.parametrize(
    ("summary", "dialogue", "expected"),
    [
        ("네 시에 만난다.", "#Person1#: 세 시에 만나요.", ["네 시"]),
        ("세 시에 만난다.", "#Person1#: 세 명이 만나요.", ["세 시"]),
        ("2만 원을 낸다.", "#Person1#: 12만 원 주세요.", ["2만 원"]),
        ("2시에 만난다.", "#Person1#: 12시에 만나요.", ["2시"]),
        ("5천 원을 낸다.", "#Person1#: 3만 5천 원이요.", ["5천 원"]),
        ("화요일에 만난다.", "#Person1#: 수요일에 만나요.", ["화요일"]),
        ("It costs $30.", "#Person1#: It takes 30 minutes.", ["$30"]),
    ],
)
def test_a_number_that_the_dialogue_lacks_is_made_up(summary: str, dialogue: str, expected: list[str]) -> None:
    assert find_made_up([summary], [dialogue])[0]["numbers"] == expected
