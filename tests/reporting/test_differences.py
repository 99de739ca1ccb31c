from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.reporting.differences import Segment, compare, find_nearest_reference

WORDS = st.sampled_from(["#Person1#은", "#Person1#이", "병원에", "병원을", "세", "네", "시에", "간다.", "a<b"])
TEXTS = st.one_of(
    st.lists(WORDS, max_size=12).map(" ".join),
    st.text(max_size=40),
    st.tuples(st.lists(WORDS, max_size=6), st.sampled_from([" ", "  ", "\n", "\t "])).map(
        lambda pair: pair[1].join(pair[0])
    ),
)


def marked(reference: str, summary: str) -> list[tuple[str, str]]:
    return [(segment.kind, segment.text) for segment in compare(reference, summary)]


@given(TEXTS, TEXTS)
def test_without_the_missing_it_is_the_summary(reference: str, summary: str) -> None:
    assert "".join(segment.text for segment in compare(reference, summary) if segment.kind != "missing") == summary


@given(TEXTS, TEXTS)
def test_without_the_added_it_is_the_reference_up_to_whitespace(reference: str, summary: str) -> None:
    kept = "".join(segment.text for segment in compare(reference, summary) if segment.kind != "added")
    assert "".join(kept.split()) == "".join(reference.split())


@given(TEXTS)
def test_a_text_does_not_differ_from_itself(text: str) -> None:
    assert all(segment.kind == "same" for segment in compare(text, text))


@given(TEXTS, TEXTS)
def test_no_segment_is_empty_and_marks_hold_something_visible(reference: str, summary: str) -> None:
    for segment in compare(reference, summary):
        assert segment.text
        assert segment.kind == "same" or segment.text.strip()


def test_a_changed_word_is_marked_as_a_whole() -> None:
    assert marked("내일 세 시에 간다.", "내일 네 시에 간다.") == [
        ("same", "내일 "),
        ("missing", "세"),
        ("added", "네"),
        ("same", " 시에 간다."),
    ]


def test_a_changed_particle_is_marked_within_its_word() -> None:
    segments = compare("#Person1#은 병원에 간다.", "#Person1#이 병원에 간다.")
    assert segments == (
        Segment(kind="same", text="#Person1#"),
        Segment(kind="missing", text="은", whole=False),
        Segment(kind="added", text="이", whole=False),
        Segment(kind="same", text=" 병원에 간다."),
    )


def test_omitted_and_inserted_words_are_marked() -> None:
    assert marked("내일 아침 병원에 간다.", "병원에 꼭 간다.") == [
        ("missing", "내일 아침"),
        ("same", "병원에 "),
        ("added", "꼭"),
        ("same", " 간다."),
    ]


@pytest.mark.parametrize(
    ("references", "summary", "nearest"),
    [
        (["학교에 간다.", "병원에 간다."], "병원에 갔다.", 1),
        (["병원에 간다.", "병원에 간다."], "병원에 간다.", 0),
        (["#Person1#이 표를 바꾼다.", "#Person2#는 잔다."], "", 0),
        ([], "병원에 간다.", -1),
    ],
)
def test_nearest_reference(references: list[str], summary: str, nearest: int) -> None:
    assert find_nearest_reference(references, summary) == nearest
