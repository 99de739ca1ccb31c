"""Masks and names that a summary makes up."""

from __future__ import annotations

import pytest

from yoyak.korean.facts import find_facts, find_made_up

KOREAN = "#Person1#: 유진이는 요즘 뭐 해?\n#Person2#: 춘천으로 이사 갔대. 번호는 #PhoneNumber#이야."
ENGLISH = "#Person1#: Did Amanda move to Leeds?\n#Person2#: She did, with her cat Biscuit."


@pytest.mark.parametrize(
    ("summary", "dialogue", "kind", "expected"),
    [
        ("#Person1#은 유진이 춘천으로 이사했다고 듣는다.", KOREAN, "names", []),
        ("#Person1#은 민수가 부산으로 이사했다고 듣는다.", KOREAN, "names", ["민수", "부산"]),
        ("#Person2#는 #PhoneNumber#을 알려 준다.", KOREAN, "masks", []),
        ("#Person3#은 #Email#을 알려 준다.", KOREAN, "masks", ["#Email#", "#Person3#"]),
        ("#Person1은 전화한다.", KOREAN, "masks", ["#Person1은"]),
        ("Amanda moved to Leeds with Biscuit's toys.", ENGLISH, "names", []),
        ("Yesterday, Amanda and Tom moved to London.", ENGLISH, "names", ["London", "Tom"]),
        ("She moved on Friday.", ENGLISH, "names", []),
    ],
)
def test_what_the_dialogue_lacks_is_made_up(summary: str, dialogue: str, kind, expected: list[str]) -> None:
    assert find_made_up([summary], [dialogue])[0][kind] == expected


def test_a_vocabulary_adds_names_that_nothing_else_would_find() -> None:
    summary, dialogue = "스마트뱅킹 가입을 권한다.", "#Person1#: 통장을 만들고 싶어요."
    assert find_made_up([summary], [dialogue])[0]["names"] == []
    assert find_made_up([summary], [dialogue], ["스마트뱅킹"])[0]["names"] == ["스마트뱅킹"]


def test_the_content_is_the_facts_whatever_the_words() -> None:
    one, same, other = find_facts(["민수는 3시에 온다.", "세 시에 민수가 도착한다.", "민수는 4시에 온다."])
    assert one.content == same.content
    assert one.content != other.content
