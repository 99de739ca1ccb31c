"""The pool: everybody's candidates joined by fname, whatever the order of the files; and what is wrong with them."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ensemble.ensemble_rows import nbest
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.ensemble.pool import make_row, read_rows
from yoyak.errors import UserError

NAMES = ["d1", "d2", "d3", "d4"]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """dialogues and two members' predictions; `b` is in another order and says one thing more."""
    write_jsonl(
        tmp_path / "dev.jsonl", [Dialogue(fname=name, dialogue=f"{name}의 대화", summaries=("s",)) for name in NAMES]
    )
    orders = {"a": NAMES, "b": ["d3", "d1", "d4", "more", "d2"]}
    for member, order in orders.items():
        write_candidates(
            tmp_path / f"{member}.jsonl", [(name, nbest([f"{member} {name}", "second"])) for name in order]
        )
    return {"dialogues": tmp_path / "dev.jsonl", "a": tmp_path / "a.jsonl", "b": tmp_path / "b.jsonl"}


def read(files: dict[str, Path]) -> list:
    return list(read_rows(files["dialogues"], {member: files[member] for member in "ab"}))


def change_line(path: Path, number: int, line: str | None) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[number : number + 1] = [] if line is None else [line]
    path.write_text("".join(f"{text}\n" for text in lines), encoding="utf-8")


def test_rows_are_in_the_order_of_the_dialogues_with_all_candidates(files: dict[str, Path]) -> None:
    rows = read(files)
    assert [row.fname for row in rows] == NAMES
    for row in rows:
        assert row.dialogue == f"{row.fname}의 대화"
        assert list(row.candidates) == ["a", "b"]
        assert [row.best("a"), row.best("b")] == [f"a {row.fname}", f"b {row.fname}"]
        assert [candidate.score for candidate in row.candidates["b"]] == [-0.1, -0.2]
        assert row.repaired == 0


@given(st.permutations(range(6)), st.permutations(range(6)))
def test_any_order_of_lines_gives_the_same_rows(tmp_path_factory, first: list[int], second: list[int]) -> None:
    folder = tmp_path_factory.mktemp("orders")
    write_jsonl(folder / "d.jsonl", [Dialogue(fname=str(number), dialogue="네") for number in range(6)])
    for member, order in {"a": first, "b": second}.items():
        write_candidates(folder / member, [(str(n), [Candidate(f"{member}{n}", -1.0)]) for n in order])
    rows = read_rows(folder / "d.jsonl", {"a": folder / "a", "b": folder / "b"})
    assert [(row.fname, row.best("a"), row.best("b")) for row in rows] == [(str(n), f"a{n}", f"b{n}") for n in range(6)]


@pytest.mark.parametrize("line", [0, 1, 3])
def test_a_missing_row_is_named_with_the_member(files: dict[str, Path], line: int) -> None:
    change_line(files["a"], line, None)
    with pytest.raises(UserError, match=rf"a\.jsonl.*'a'.*'{NAMES[line]}'"):
        read(files)


def test_an_empty_file_lacks_the_first_row(files: dict[str, Path]) -> None:
    files["b"].write_text("")
    with pytest.raises(UserError, match=r"'b'.*'d1'"):
        read(files)


def test_a_missing_file_is_named(files: dict[str, Path]) -> None:
    files["b"].unlink()
    with pytest.raises(UserError, match=r"'b'.*b\.jsonl"):
        read(files)


def test_no_candidates_are_an_error_and_an_empty_text_is_not(files: dict[str, Path]) -> None:
    change_line(files["a"], 1, json.dumps({"fname": "d2", "candidates": [{"text": "", "score": -1.0}]}))
    assert read(files)[1].best("a") == ""
    change_line(files["a"], 1, json.dumps({"fname": "d2", "candidates": []}))
    with pytest.raises(UserError, match=r"'a'.*'d2'"):
        read(files)


@pytest.mark.parametrize(
    "line",
    [
        '{"fname": "d2", "candi',
        "",
        "[1]",
        "3",
        '{"fname": "d2"}',
        '{"candidates": []}',
        '{"fname": "d2", "candidates": null}',
        '{"fname": "d2", "candidates": "text"}',
        '{"fname": "d2", "candidates": ["text"]}',
        '{"fname": "d2", "candidates": [{"text": "x"}]}',
        '{"fname": "d2", "candidates": [{"text": null, "score": -1}]}',
        '{"fname": "d2", "candidates": [{"text": "x", "score": "high"}]}',
        '{"fname": "d2", "candidates": [{"text": "x", "score": -1, "other": 1}]}',
    ],
)
@pytest.mark.parametrize("member", ["a", "b"])
def test_a_damaged_line_is_an_error(files: dict[str, Path], member: str, line: str) -> None:
    # d2 is the second line of a, and the last of b.
    change_line(files[member], 1 if member == "a" else 4, line)
    with pytest.raises(UserError, match=rf"{member}\.jsonl.*damaged"):
        read(files)


def test_bytes_that_are_not_utf8_are_an_error(files: dict[str, Path]) -> None:
    files["a"].write_bytes(b'{"fname": "\xff\xfe"}\n')
    with pytest.raises(UserError, match="damaged"):
        read(files)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_scores_that_are_not_finite_become_the_members_lowest(tmp_path: Path, bad: float) -> None:
    write_jsonl(tmp_path / "d.jsonl", [Dialogue(fname="d", dialogue="네")])
    write_candidates(tmp_path / "a", [("d", [Candidate("x", bad), Candidate("y", -0.5), Candidate("z", -2.0)])])
    write_candidates(tmp_path / "b", [("d", [Candidate("x", bad), Candidate("y", bad)])])
    row = next(read_rows(tmp_path / "d.jsonl", {"a": tmp_path / "a", "b": tmp_path / "b"}))
    assert [candidate.score for candidate in row.candidates["a"]] == [-2.0, -0.5, -2.0]
    assert [candidate.score for candidate in row.candidates["b"]] == [0.0, 0.0]
    assert row.repaired == 3
    assert [candidate.text for candidate in row.candidates["a"]] == ["x", "y", "z"]


def test_a_score_that_was_written_as_null_is_repaired_too(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "d.jsonl", [Dialogue(fname="d", dialogue="네")])
    (tmp_path / "a").write_text(
        '{"fname": "d", "candidates": [{"text": "x", "score": null}, {"text": "y", "score": -1}]}\n'
    )
    row = next(read_rows(tmp_path / "d.jsonl", {"a": tmp_path / "a"}))
    assert ([candidate.score for candidate in row.candidates["a"]], row.repaired) == ([-1.0, -1.0], 1)


def test_views_are_read(tmp_path: Path) -> None:
    row = make_row(Dialogue(fname="d", dialogue="네"), {"a": [Candidate("x", -1.0), Candidate("y", -1.0, 2)]})
    write_jsonl(tmp_path / "d.jsonl", [Dialogue(fname="d", dialogue="네")])
    write_candidates(tmp_path / "a", [("d", row.candidates["a"])])
    assert list(read_rows(tmp_path / "d.jsonl", {"a": tmp_path / "a"})) == [row]


@pytest.mark.parametrize("shuffled", [False, True])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, shuffled: bool) -> None:
    text = "긴 요약 " * 400

    def peak(count: int) -> int:
        order = range(count)[::-1] if shuffled else range(count)
        write_jsonl(tmp_path / "d.jsonl", (Dialogue(fname=str(n), dialogue="네") for n in range(count)))
        write_candidates(tmp_path / "a", ((str(n), [Candidate(text, -1.0)]) for n in order))
        tracemalloc.start()
        for _ in read_rows(tmp_path / "d.jsonl", {"a": tmp_path / "a"}):
            pass
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    # 3000 lines of 5 KB are 15 MB; the offsets of the lines are a hundred bytes each.
    assert peak(3000) - peak(100) < 2_000_000
