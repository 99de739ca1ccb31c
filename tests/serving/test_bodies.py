"""Bodies: tables as they are sent, and what one body may cost."""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from yoyak.errors import UserError
from yoyak.params import Serving
from yoyak.serving.bodies import read_invocations

LIMITS = Serving()
SIZE = LIMITS.max_body_mb << 20


def read(text: str) -> list[object]:
    return read_invocations(text.encode(), "text/csv", LIMITS).dialogues


def test_a_table_gives_its_column_of_dialogues() -> None:
    assert read('id,dialogue\n1,"a, ""b""\nc"\n\n2,d\n') == ['a, "b"\nc', "d"]
    assert read("dialogue\r\na\r\n") == ["a"]
    assert read("dialogue\n") == []
    assert read("dialogue\n" + "a" * 200_000) == ["a" * 200_000]
    assert len(read("dialogue\n" + "a\n" * (LIMITS.max_rows + 9))) == LIMITS.max_rows + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs a first line"),
        ("\ndialogue\na\n", "needs a first line"),
        ("text\na\n", "needs a first line"),
        ("id,dialogue\n1\n", "as many values as its first line"),
        ("id,dialogue\n1,a, b\n", "as many values as its first line"),
        ("," * 32 + "dialogue\n", "at most 32 columns"),
        ('dialogue\n"open', "not valid CSV"),
    ],
)
def test_a_wrong_table_gets_a_reason(text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        "dialogue" + "".join(f",{number:x}" for number in range(600_000)) + "\na" * 257,
        "dialogue\n" + ",aa" * (SIZE // 3 - 9),
        "dialogue\n" + "\n" * (SIZE - 9),
        "dialogue".ljust(SIZE - 2, ",") + "\na",
    ],
    ids=["many names", "wide row", "empty rows", "wide header"],
)
def test_a_large_table_takes_little_time(text: str) -> None:
    assert len(text) <= SIZE
    started = time.process_time()
    with suppress(UserError):
        assert read(text) == []
    assert time.process_time() - started < 5
