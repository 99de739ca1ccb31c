"""Files are cut into parts of which each row is in exactly one, and rows that cannot be read say why."""

from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_scoring.dialogue_files import ROWS, write_csv, write_json_lines, write_parquet
from yoyak import params
from yoyak.batch_scoring.sources import Part, RawRow, find_sources, plan_parts, read_part
from yoyak.batch_scoring.storage import open_storage
from yoyak.errors import UserError

DATA = params.Data()
texts = st.text(st.sampled_from('가a ,"\n\r;#'), max_size=8)


def plan(path: Path, part_rows: int, data: params.Data = DATA) -> list[Part]:
    storage = open_storage(str(path))
    return plan_parts(storage, find_sources(storage), data, part_rows)


def read_all(path: Path, part_rows: int, data: params.Data = DATA) -> list[RawRow]:
    storage = open_storage(str(path))
    return [row for part in plan(path, part_rows, data) for row in read_part(storage, part, data)]


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=12), st.integers(1, 5), st.sampled_from(["\n", "\r\n"]))
def test_the_parts_of_csv_have_the_rows_that_the_whole_file_has(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], part_rows: int, line_end: str
) -> None:
    text = io.StringIO(newline="")
    # The writer would leave a carriage return unquoted, and nothing could tell it from the end of a row.
    quoted = any("\r" in text for row in rows for text in row)
    writer = csv.writer(text, lineterminator=line_end, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("fname", "dialogue"), *rows])
    path = tmp_path_factory.getbasetemp() / "generated.csv"
    path.write_text("\ufeff" + text.getvalue() + line_end * 2, encoding="utf-8", newline="")
    expected = list(csv.DictReader(io.StringIO(text.getvalue(), newline="")))
    found = read_all(path, part_rows)
    assert [dict(row.fields) for row in found] == expected
    assert [row.number for row in found] == list(range(1, len(expected) + 1))
    assert {row.problem for row in found} <= {""}


@given(st.lists(texts, min_size=1, max_size=12), st.integers(1, 5))
def test_the_parts_of_json_lines_have_the_rows_that_the_whole_file_has(
    tmp_path_factory: pytest.TempPathFactory, rows: list[str], part_rows: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "generated.jsonl"
    expected = [{"fname": str(number), "dialogue": text} for number, text in enumerate(rows)]
    path.write_text("\n".join("\n" + json.dumps(row, ensure_ascii=False) for row in expected), encoding="utf-8")
    assert [dict(row.fields) for row in read_all(path, part_rows)] == expected


@pytest.mark.parametrize("row_group_size", [3, 7, None])
@pytest.mark.parametrize("part_rows", [1, 4, 100])
def test_the_parts_of_parquet_do_not_depend_on_its_row_groups(
    tmp_path: Path, row_group_size: int | None, part_rows: int
) -> None:
    path = write_parquet(tmp_path / "rows.parquet", ROWS, row_group_size)
    assert [dict(row.fields) for row in read_all(path, part_rows)] == ROWS


def test_parts_of_parquet_can_be_read_in_any_order(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "rows.parquet", ROWS, 6)
    storage, parts = open_storage(str(path)), plan(path, 4)
    for number in (3, 0, 4, 1, 2, 2):
        assert [row.fields for row in read_part(storage, parts[number], DATA)] == ROWS[4 * number : 4 * number + 4]


def test_a_pattern_a_folder_and_a_file_name_the_same_rows(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS[:5])
    write_json_lines(tmp_path / "b.jsonl", ROWS[5:12])
    write_parquet(tmp_path / "c.parquet", ROWS[12:])
    write_csv(tmp_path / "_hidden.csv", ROWS)
    (tmp_path / "notes.txt").write_text("no dialogue")
    for name in (tmp_path, tmp_path / "[abc].*", f"file://{tmp_path}"):
        assert [row.fields for row in read_all(name, 3)] == ROWS  # type: ignore[arg-type]
    assert [row.fields for row in read_all(tmp_path / "*.csv", 3)] == [*ROWS, *ROWS[:5]]


def test_rows_that_cannot_be_read_say_why_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(b"fname,dialogue\na,fine\nb,too,many\nc,\xff\xfe\nd,fine\n")
    problems = {row.number: row.problem for row in read_all(path, 2)}
    assert [number for number, problem in problems.items() if not problem] == [1, 4]
    assert "3 fields, but the header has 2" in problems[2]
    assert "not utf-8" in problems[3]
    path = tmp_path / "bad.jsonl"
    path.write_bytes(b'{"fname": "a", "dialogue": "fine"}\n{"fname"\n[1]\n{"fname": "d", "dialogue": "\xff"}\n')
    problems = {row.number: row.problem for row in read_all(path, 3)}
    assert problems[1] == ""
    assert "not valid JSON" in problems[2]
    assert "a list, not an object" in problems[3]
    assert "not utf-8" in problems[4]


def test_cp949_is_read_as_it_is_configured(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text('fname,dialogue\na,"네, 네"\nb,뷁똠\n', encoding="cp949")
    rows = read_all(path, 1, params.Data(encoding="cp949"))
    assert [row.fields["dialogue"] for row in rows] == ["네, 네", "뷁똠"]


@pytest.mark.parametrize(
    ("name", "content", "data", "words"),
    [
        ("a.csv", b'fname,dialogue\na,"open\n', {}, r"row 1 \(line 2\).*close each quote"),
        ("a.csv", b"fname,dialog\na,b\n", {}, r"no column 'dialogue' \(did you mean 'dialog'\?\)"),
        ("a.csv", b"x,x,dialogue\n1,2,3\n", {}, "two columns are named 'x'"),
        ("a.csv", b"fname,dialogue\n", {}, "holds no dialogue"),
        ("a.jsonl", b'{"id": 1, "dialogue": "x"}\n', {}, "no column 'fname'"),
        ("a.csv", b"\n1,2\n", {}, "the first line is empty; it has to name the columns"),
        ("a.csv", b"", {}, "holds no dialogue"),
        ("a.jsonl", b" \n", {}, "holds no dialogue"),
        ("a.jsonl", b"fname,dialogue\n1,2\n", {}, "no line is a JSON object"),
        ("a.jsonl", b"1\n" * 101, {}, "none of the first 100 lines is a JSON object"),
        ("a.jsonl.gz", b"", {}, "compressed"),
        ("a.txt", b"", {}, r"\.parquet, \.pq, \.csv"),
        ("a.parquet", b"PAR1", {}, "cannot be read as Parquet"),
        ("a.csv", b"", {"encoding": "utf-16"}, "UTF-8 or as Parquet"),
        ("a.csv", b"", {"encoding": "utf-88"}, "did you mean 'utf-8'"),
    ],
)
def test_a_file_that_cannot_be_cut_is_an_error(
    tmp_path: Path, name: str, content: bytes, data: dict, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        plan(tmp_path / name, 10, params.Data(**data))


def test_columns_of_parquet_that_cannot_be_read_are_an_error(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [{"fname": "a", "dialogue": 1}])
    with pytest.raises(UserError, match="'dialogue' holds int64: it has to hold strings"):
        plan(path, 10)
    write_parquet(path, [{"fname": b"a", "dialogue": "x"}])
    with pytest.raises(UserError, match="'fname' holds binary: it has to hold strings or numbers"):
        plan(path, 10)
    table = pa.table([["a"], ["x"], ["y"]], names=["fname", "dialogue", "dialogue"])
    pq.write_table(table, path)
    with pytest.raises(UserError, match="two columns are named 'dialogue'"):
        plan(path, 10)


def test_a_folder_may_have_empty_files(tmp_path: Path) -> None:
    for name in ("a.csv", "b.jsonl"):
        (tmp_path / name).touch()
    (tmp_path / "c.csv").write_text("fname,dialogue\n")
    pq.write_table(pa.table({"fname": pa.nulls(0), "dialogue": pa.nulls(0)}), tmp_path / "d.parquet")
    write_csv(tmp_path / "e.csv", ROWS)
    assert [row.fields for row in read_all(tmp_path, 9)] == ROWS


def test_a_compressed_file_in_a_folder_is_not_left_out_silently(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ROWS)
    (tmp_path / "b.CSV.GZ").touch()
    with pytest.raises(UserError, match=r"b\.CSV\.GZ is compressed"):
        plan(tmp_path, 10)


def test_a_file_that_was_changed_after_it_was_cut_is_an_error(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ROWS)
    storage, parts = open_storage(str(path)), plan(path, 15)
    time = path.stat().st_mtime_ns
    # The same number of rows, and even of bytes.
    path.write_text(path.read_text().replace("row_1,", "ROW_1,"))
    os.utime(path, ns=(time + 1_000_000_000, time + 1_000_000_000))
    with pytest.raises(UserError, match="has changed since it was cut into parts"):
        list(read_part(storage, parts[0], DATA))
    path.unlink()
    with pytest.raises(UserError, match="has changed since it was cut into parts"):
        list(read_part(storage, parts[0], DATA))
