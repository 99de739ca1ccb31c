from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from yoyak.data.cleaning import CHANGE_KINDS, clean_dialogue, clean_line, clean_row, truncate
from yoyak.data.records import Dialogue

PIECES = (
    *("#Person1#:", "#Person1# :", "Doctor:", "환자：", "10:30", "네", "é", "e\u0301", "\u1112\u1161\u11ab", "a"),
    *(" ", "  ", "\t", "\u00a0", "\u3000", "\u3164", "\u2028", "\x0b", "\n", "\r\n", "\r", "\n\n", "\\n", "\\r\\n"),
    *("\x00", "\x1f", "\x85", "\u200b", "\u200c", "\u200d", "\ufeff", "\u00ad", "\ud800", "\U0001f468", "\u0301"),
    *("\u0915\u093c", "\u2329", "\u0627\u0653", "\\", "n", ":", "#", '"'),
)
texts = st.one_of(st.lists(st.sampled_from(PIECES), max_size=14).map("".join), st.text(st.characters(), max_size=40))


@given(texts)
def test_cleaning_a_clean_dialogue_changes_and_counts_nothing(text: str) -> None:
    once, changes = clean_dialogue(text)
    assert clean_dialogue(once) == (once, {})
    assert set(changes) <= set(CHANGE_KINDS)
    assert once == text or changes or "\r" in text or once == text.strip("\n")


@given(texts)
@example("e\u200d\u0301")
def test_a_clean_dialogue_is_nfc_one_turn_per_line_and_can_be_written(text: str) -> None:
    once, _ = clean_dialogue(text)
    assert unicodedata.is_normalized("NFC", once)
    assert once.encode("utf-8").decode("utf-8") == once
    for line in once.split("\n") if once else []:
        assert line == " ".join(line.split()) != ""


@given(texts)
def test_cleaning_a_clean_line_changes_nothing(text: str) -> None:
    once, _ = clean_line(text)
    assert clean_line(once) == (once, {})
    assert "\n" not in once


@given(texts, st.integers(1, 60))
def test_truncation_keeps_the_limit_and_takes_a_beginning(text: str, limit: int) -> None:
    once, _ = clean_dialogue(text)
    short = truncate(once, limit)
    assert len(short) <= limit
    assert once.startswith(short)
    assert bool(short) == bool(once)


@pytest.mark.parametrize(
    ("text", "clean", "kind"),
    [
        ("#Person1#: \u1112\u1161\u11ab글", "#Person1#: 한글", "unicode_nfc"),
        ("#Person1#: 안\x07녕\x00", "#Person1#: 안녕", "control_characters"),
        ("#Person1#: 안\u200b녕\ufeff", "#Person1#: 안녕", "zero_width_characters"),
        ("#Person1#:  안녕\u3000\u00a0하세요 \u3164", "#Person1#: 안녕 하세요", "whitespace"),
        ("Doctor: Hi.\n Patient: Hello. ", "Doctor: Hi.\nPatient: Hello.", "whitespace"),
        ("#Person1#: 네\n#Person2#:\n#Person1#: 응", "#Person1#: 네\n#Person1#: 응", "empty_turns"),
        ("#Person1#: 네\nDoctor: ", "#Person1#: 네", "empty_turns"),
        ("#Person1#: 네\n\n#Person2#: 응", "#Person1#: 네\n#Person2#: 응", "blank_lines"),
        ("#Person1#:\n네\n#Person2#: 응", "#Person1#: 네\n#Person2#: 응", "joined_labels"),
        ("#Person1#: 네\\n#Person2#: 응", "#Person1#: 네\n#Person2#: 응", "literal_line_breaks"),
        ("Doctor: Hi.\\r\\n Patient: Yes.", "Doctor: Hi.\nPatient: Yes.", "literal_line_breaks"),
    ],
)
def test_each_kind_of_change_is_made_and_counted(text: str, clean: str, kind: str) -> None:
    cleaned, changes = clean_dialogue(text)
    assert cleaned == clean
    assert changes[kind] >= 1


@pytest.mark.parametrize(
    "text",
    [
        "#Person1#: C:\\new 폴더에 있어요.",
        "Doctor: How are you?\nGuest_family_1: Fine.",
        "#Person1#: 10:30에 봐요.\n10:30 확인",
        "#Person1#: 가족 👨‍👩‍👧 사진\n#Person2#: नमस्ते क्‍ष",
        "다음과 같습니다\n1. 하나",
    ],
)
def test_clean_text_is_unchanged(text: str) -> None:
    assert clean_dialogue(text) == (text, {})


def test_crlf_between_turns_is_not_counted_as_a_change() -> None:
    assert clean_dialogue("#Person1#: 네\r\n#Person2#: 응\r\n") == ("#Person1#: 네\n#Person2#: 응", {})


def test_a_summary_becomes_one_line() -> None:
    assert clean_line("첫 줄\r\n 둘째 줄")[0] == "첫 줄 둘째 줄"


def test_a_dialogue_is_cut_at_the_end_of_a_turn() -> None:
    turns = [f"#Person{1 + i % 2}#: {i} " + "가" * 50 for i in range(100)]
    short = truncate("\n".join(turns), 1000)
    assert short == "\n".join(turns[: short.count("\n") + 1])
    assert 900 < len(short) <= 1000


def test_a_single_long_turn_is_cut_between_words_and_after_its_label() -> None:
    assert truncate("#Person1#: 하나 둘 셋", 15) == "#Person1#: 하나 둘"
    assert truncate("#Person1#: " + "가" * 100, 20) == "#Person1#: " + "가" * 9


def test_empty_references_go_and_are_counted_while_one_is_left() -> None:
    row = Dialogue(fname="a", dialogue="#Person1#: 네", summaries=("하나", " ", "둘"))
    cleaned, changes = clean_row(row, 100)
    assert cleaned.summaries == ("하나", "둘")
    assert changes["empty_references"] == 1
    assert "empty_references" not in clean_row(Dialogue(fname="a", dialogue="네", summaries=(" ",)), 100)[1]
