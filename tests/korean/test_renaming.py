"""Renaming: particles follow the new names, names inside other words stay, and what is unclear is said."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.korean.josa import particle
from yoyak.korean.renaming import rename

FORMS = ("은", "이", "을", "과", "으로", "이랑", "이에요", "이라고", "이나", "이었어요", "으로는", "이랑은", "은요")
NAMES = ("#Person1#", "#Person2#", "#Person3#", "지훈", "수아", "민서", "동현", "한별")
FIXED = ("도", "만", "에게", "한테서", "까지", "입니다", " 씨는", "의", "하고", "")


def attach(name: str, form: str) -> str:
    """Return a name with a particle, whose end may be another particle that does not change."""
    for base in ("이었", "이랑", "으로", "이라"):
        if form.startswith(base):
            return name + particle(name, base) + form[len(base) :]
    if form.endswith("요") and form != "이에요":
        return name + particle(name, form[:-1]) + "요"
    return name + (particle(name, form) if form in FORMS else form)


@given(st.sampled_from(NAMES), st.sampled_from(NAMES), st.lists(st.sampled_from([*FORMS, *FIXED]), min_size=1))
def test_particles_agree_with_the_new_name(old: str, new: str, forms: list[str]) -> None:
    text = ". 그리고 ".join(attach(old, form) for form in forms)
    renamed = rename(text, {old: new})
    assert renamed.sure
    assert renamed.text == ". 그리고 ".join(attach(new, form) for form in forms)
    assert rename(renamed.text, {new: old}).text == text


@given(st.permutations(NAMES), st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(FORMS))))
def test_all_names_change_at_once_and_back(order: list[str], mentions: list[tuple[str, str]]) -> None:
    text = " / ".join(attach(*mention) for mention in mentions)
    mapping = dict(zip(NAMES, order, strict=True))
    renamed = rename(text, mapping)
    assert renamed.text == " / ".join(attach(mapping[name], form) for name, form in mentions)
    assert rename(renamed.text, {new: old for old, new in mapping.items()}).text == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("지훈아, 안녕. 지훈이가 왔어", "수아야, 안녕. 수아가 왔어"),
        ("지훈이는 지훈이랑 지훈이네 집에 갔다.", "수아는 수아랑 수아네 집에 갔다."),
        ("지훈이라는 사람이 지훈이에요", "수아라는 사람이 수아예요"),
        ("박지훈은 지훈과 달라", "박지훈은 수아와 달라"),
        ("지훈이야기책", "지훈이야기책"),
    ],
)
def test_given_names(text: str, expected: str) -> None:
    renamed = rename(text, {"지훈": "수아"})
    assert renamed.text == expected or not renamed.sure


def test_calling_somebody_is_told_from_saying_who_it_is() -> None:
    assert rename("수아야, 이리 와", {"수아": "지훈"}).text == "지훈아, 이리 와"
    assert not rename("저 사람이 수아야.", {"수아": "지훈"}).sure
    assert rename("저 사람이 수아야.", {"수아": "민서"}) == rename("저 사람이 수아야.", {"수아": "민서"})
    assert rename("저 사람이 수아야.", {"수아": "민서"}).text == "저 사람이 민서야."


def test_what_is_not_a_particle_is_unclear_where_it_might_change() -> None:
    assert not rename("지훈표 김밥", {"지훈": "수아"}).sure
    assert not rename("보라: 보라색 옷이야.", {"보라": "지아"}).sure
    assert rename("#Person1#표 김밥", {"#Person1#": "#Person7#"}).sure
    assert rename("", {}).text == ""
    assert rename("#Person10#은 #Person1#을", {"#Person1#": "#Person2#"}).text == "#Person10#은 #Person2#를"
