from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.reporting.differences import compare
from yoyak.reporting.formats import format_count, format_duration, format_p_value, format_signed
from yoyak.reporting.render import escape_markdown, mark_html, mark_markdown

TEXTS = st.lists(st.sampled_from(["#Person1#은", "<b>", "a&b", "병원에", "*", "|", "세 시"]), max_size=8).map(" ".join)


@given(TEXTS, TEXTS)
def test_html_without_its_marks_is_the_summary(reference: str, summary: str) -> None:
    marked = str(mark_html(compare(reference, summary)))
    kept = re.sub(r"</?ins[^>]*>", "", re.sub(r"<del[^>]*>.*?</del>", "", marked, flags=re.DOTALL))
    assert html.unescape(kept) == summary
    assert not re.search(r"<(?!/?(?:ins|del)\b)", marked)


@given(TEXTS, TEXTS)
def test_markdown_without_its_marks_is_the_summary_up_to_spaces(reference: str, summary: str) -> None:
    kept = re.sub(r"</?ins>", "", re.sub(r"<del>.*?</del>", "", mark_markdown(compare(reference, summary))))
    plain = html.unescape(re.sub(r"\\([\\`*_\[\]|~#+-])", r"\1", kept))
    assert "".join(plain.split()) == "".join(summary.split())


def test_deleted_words_do_not_stick_to_their_neighbours() -> None:
    assert mark_markdown(compare("세 시에 간다. 꼭.", "세 시에 간다.")) == "세 시에 간다. <del>꼭.</del>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("#Person1#은 간다.", "#Person1#은 간다."),
        ("# 하나", r"\# 하나"),
        ("- 하나", r"\- 하나"),
        ("1. 하나", r"1\. 하나"),
        ("a|b\n<i>", r"a\|b &lt;i&gt;"),
        ("_x_ ~~y~~ [z](u) \\", r"\_x\_ \~\~y\~\~ \[z\](u) \\"),
    ],
)
def test_markdown_shows_text_literally(text: str, expected: str) -> None:
    assert escape_markdown(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.1234, "+0.123"), (-0.5, "−0.500"), (-0.0001, "0.000"), (0.0, "0.000"), (None, "–")]
)
def test_signed(value: float | None, expected: str) -> None:
    assert format_signed(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0.0, "p ≤ 0.001"), (0.001, "p ≤ 0.001"), (0.0014, "p = 0.001"), (0.042, "p = 0.042"), (1.0, "p = 1.000")],
)
def test_p_value(value: float, expected: str) -> None:
    assert format_p_value(value).replace("\u00a0", " ") == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (7, "7"),
        (0.7053, "0.705"),
        (431.2, "431"),
        (12_345, "12,345"),
        (1_234_567, "1.23 M"),
        (7e9, "7.00 G"),
        ("cpu", "cpu"),
    ],
)
def test_count(value: object, expected: str) -> None:
    assert format_count(value) == expected


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (59.4, "59 s"), (59.6, "1 min 00 s"), (92.4, "1 min 32 s"), (7500, "2 h 05 min")]
)
def test_duration(value: object, text: str) -> None:
    assert format_duration(value) == text
