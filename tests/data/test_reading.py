from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak import params
from yoyak.data.preparing import prepare_splits, read_input
from yoyak.data.reading import SourceRow, open_table
from yoyak.errors import UserError

DataOf = Callable[..., params.Data]


def has(text: str, *parts: str) -> bool:
    """Say whether the parts are in a text, in their order."""
    return re.search(".*".join(map(re.escape, parts)), text) is not None


def sentence(data: params.Data) -> str:
    """Return the error of preparing, with the temporary folder taken out."""
    with pytest.raises(UserError) as caught:
        prepare_splits(data)
    text = str(caught.value).replace(f"{data.folder}/", "")
    assert "\n" not in text
    assert text.endswith((".", "?"))
    return text


@dataclass
class Table:
    """A file that was read to its end."""

    rows: list[SourceRow]
    format: dict[str, Any]


def read_table(source: Path | IO[bytes], data: params.Data, name: str) -> Table:
    with open_table(source, data, name) as table:
        return Table(list(table.rows), table.format)


def rows_of(data: params.Data) -> list[str]:
    table = read_table(Path(data.folder) / data.files["train"], data, "train")
    return [row.value.fname for row in table.rows]


def test_a_missing_column_names_the_columns_and_the_nearest(data_of: DataOf, good: str) -> None:
    text = sentence(data_of({"train.csv": good.replace("dialogue", "dialog", 1)}))
    assert has(text, "train.csv", "'dialogue'", "'dialog'?", "fname, dialog, summary, topic", "data.columns.dialogue")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"id": "ID"}, "no column 'ID'"),
        ({"id": "ID"}, "data.columns.id to the right one, or to null"),
        ({"summary": "summery"}, "no column 'summery' (did you mean 'summary'?)"),
        ({"summary": ["summary1", "summary2"]}, "no column 'summary1' nor summary2 (did you mean 'summary'?)"),
    ],
)
def test_each_needed_column_is_asked_for(data_of: DataOf, good: str, columns: dict[str, object], words: str) -> None:
    data = data_of({"train.csv": good}, columns=params.Columns.model_validate(columns))
    assert words in sentence(data)


def test_a_wrong_separator_is_recognized_by_the_header(data_of: DataOf) -> None:
    text = sentence(data_of({"train.csv": "fname;dialogue;summary\na;x, y;z\n"}))
    assert "(separate fields with commas)" in text


def test_optional_columns_may_be_missing(data_of: DataOf, good: str) -> None:
    columns = params.Columns(id=None, topic="subject", slice="part", summary=["summary", "summary9"])
    data = data_of({"train.csv": good}, columns=columns)
    table = read_table(Path(data.folder) / "train.csv", data, "train")
    assert [row.value.fname for row in table.rows] == ["train_0", "train_1", "train_2"]
    assert {(row.value.topic, row.value.slice, len(row.value.summaries)) for row in table.rows} == {("", "", 1)}
    assert table.format["columns"] == {
        "id": None,
        "dialogue": "dialogue",
        "summary": ["summary"],
        "topic": None,
        "slice": None,
        "group": None,
        "facts": None,
        "unused": ["fname", "topic"],
    }


@pytest.mark.parametrize("encoding", ["cp949", "utf-16", "utf-16-le", "utf-16-be"])
def test_another_encoding_is_named_and_then_reads(data_of: DataOf, good: str, encoding: str) -> None:
    text = sentence(data_of({"train.csv": good.encode(encoding)}))
    assert text.startswith("train.csv")
    assert f"set data.encoding to {encoding}." in text
    assert rows_of(data_of({"train.csv": good.encode(encoding)}, encoding=encoding)) == ["a", "b", "c"]


def test_a_wrong_encoding_is_located(data_of: DataOf, good: str) -> None:
    assert sentence(data_of({"train.csv": good.encode("cp949")})).startswith("train.csv, row 1 (line 2): ")
    broken = good.encode("utf-8").replace("산책".encode(), b"\xff\xfe\xff", 1)
    assert has(sentence(data_of({"train.csv": broken})), "train.csv, row 3 (line 6)", "not utf-8", "data.encoding")


def test_utf8_declared_as_another_encoding_is_refused(data_of: DataOf, good: str) -> None:
    # These bytes decode as CP949 without an error, into other characters.
    raw = "fname,dialogue,summary\na,Ã©Ã©,x\n".encode()
    raw.decode("cp949", errors="strict")
    assert "set data.encoding to utf-8" in sentence(data_of({"train.csv": raw}, encoding="cp949"))
    assert "set data.encoding to utf-8" in sentence(data_of({"train.csv": good}, encoding="utf-16"))


def test_an_unknown_encoding_is_named(data_of: DataOf, good: str) -> None:
    text = sentence(data_of({"train.csv": good}, encoding="utf-88"))
    assert has(text, "data.encoding", "'utf-88'", "'utf-8'?")


def test_an_unclosed_quote_is_located_where_it_opens(data_of: DataOf, good: str) -> None:
    def error(content: str) -> str:
        return sentence(data_of({"train.csv": content}))

    at_the_end = good + 'd,"#Person1#: 끝\n#Person2#: 네,요약,일상\n'
    assert has(error(at_the_end), "train.csv, row 4 (line 8)", "quote opened on line 8")
    between = good.replace('요."', "요.", 1)
    assert has(error(between), "train.csv, row 1 (line 2)", "quote opened on line 2")
    second_field = 'fname,dialogue,summary\na,"하나\n둘","셋\nb,넷,다섯\n'
    assert has(error(second_field), "train.csv, row 1 (line 2)", "quote opened on line 3")
    doubled = 'fname,dialogue,summary\na,"하나\n""둘"" 셋,넷\n'
    assert has(error(doubled), "row 1 (line 2)", "quote opened on line 2")
    bare = 'fname,dialogue,summary\na,하나,둘\nb,"그가 "네" 했다",셋\n'
    assert has(error(bare), "train.csv, row 2 (line 3)", "quote opened on line 3")


def test_a_row_with_another_number_of_fields_is_located(data_of: DataOf, good: str) -> None:
    more = sentence(data_of({"train.csv": good + "d,대화, 쉼표가 있는,요약,일상\n"}))
    assert has(more, "train.csv, row 4 (line 8): 5 fields", "header has 4")
    assert "row 4 (line 8): 1 field," in sentence(data_of({"train.csv": good + "d\n"}))


def test_two_columns_of_one_name_are_refused(data_of: DataOf, good: str) -> None:
    text = sentence(data_of({"train.csv": good.replace("topic", "summary", 1)}))
    assert has(text, "train.csv, header (line 1)", "'summary'")


@pytest.mark.parametrize("content", ["", "\ufeff", "\n \n"])
def test_an_empty_file_is_named(data_of: DataOf, content: str) -> None:
    assert has(sentence(data_of({"train.csv": content})), "train.csv is empty", "header")
    assert has(sentence(data_of({"train.jsonl": content})), "train.jsonl is empty", "JSON")


def test_a_header_alone_is_not_enough(data_of: DataOf) -> None:
    text = sentence(data_of({"train.csv": "fname,dialogue,summary\n\n"}))
    assert has(text, "train.csv", "header", "no rows")


def test_a_missing_file_names_the_nearest(data_of: DataOf, good: str) -> None:
    data = data_of({"train.csv": good})
    wrong = data.model_copy(update={"files": {"train": "trian.csv"}})
    assert has(sentence(wrong), "trian.csv is missing", "'train.csv'?")


def test_a_folder_in_place_of_a_file_gives_one_sentence(data_of: DataOf, good: str) -> None:
    data = data_of({"train.csv": good})
    assert "cannot be read" in sentence(data.model_copy(update={"files": {"train": "."}}))


def test_a_byte_order_mark_and_every_line_end_are_accepted_and_noted(data_of: DataOf, good: str) -> None:
    for end, kind in (("\r\n", "crlf"), ("\r", "cr"), ("\n", "lf")):
        data = data_of({"train.csv": "\ufeff" + good.replace("\n", end)})
        table = read_table(Path(data.folder) / "train.csv", data, "train")
        assert [row.location for row in table.rows] == ["row 1 (line 2)", "row 2 (line 4)", "row 3 (line 6)"]
        assert table.format["bom"] is True
        assert table.format["line_ends"] == {"lf": 0, "crlf": 0, "cr": 0} | {kind: 7}
        prepared = prepare_splits(data)
        assert {row.dialogue.count("\n") for rows in prepared.splits.values() for row in rows} == {1}
        assert prepared.report["files"]["train"]["changed"] == {}


def test_nul_bytes_are_cleaned_and_counted(data_of: DataOf, good: str) -> None:
    prepared = prepare_splits(data_of({"train.csv": good.replace("점심", "점\0심", 1)}))
    assert "\0" not in str(prepared.splits)
    assert prepared.report["files"]["train"]["changed"]["control_characters"]["times"] == 1


def test_a_row_of_200000_characters_is_cut_at_a_turn_and_counted(data_of: DataOf, good: str) -> None:
    limit = csv.field_size_limit()
    turns = [f"#Person{1 + i % 2}#: {'가' * 95} {i}" for i in range(2000)]
    long = good + 'd,"' + "\n".join(turns) + '",긴 이야기,일상\n'
    prepared = prepare_splits(data_of({"train.csv": long}, max_chars=20_000))
    [row] = [row for rows in prepared.splits.values() for row in rows if row.fname == "d"]
    assert row.dialogue.split("\n") == turns[: row.dialogue.count("\n") + 1]
    assert 19_000 < len(row.dialogue) <= 20_000
    assert prepared.report["files"]["train"]["changed"]["truncated"]["rows"] == 1
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{'fname': 1}", "not valid JSON"),
        ("[1]", "this is a list"),
        ("null", "this is null"),
        ('{"fname": "b", "dialogue": 3, "summary": "s"}', "line 2: 'dialogue' must be a string, not a number."),
        ('{"fname": "b", "dialogue": "d", "summary": ["s"]}', "line 2: 'summary' must be a string, not a list."),
        ('{"fname": true, "dialogue": "d", "summary": "s"}', "'fname' must be a string, not true or false."),
        ('{"fname": "b", "dialog": "d", "summary": "s"}', "no key 'dialogue' (did you mean 'dialog'?)."),
    ],
)
def test_a_wrong_line_of_json_is_located(data_of: DataOf, line: str, words: str) -> None:
    first = '{"fname": "a", "dialogue": "d", "summary": "s"}\n'
    text = sentence(data_of({"train.jsonl": first + line + "\n"}))
    assert text.startswith("train.jsonl, line 2: ")
    assert words in text


def test_json_lines_take_numbers_as_ids_and_null_as_empty(data_of: DataOf) -> None:
    lines = [
        {"fname": 7, "dialogue": "#Person1#: 네", "summary1": "하나", "summary2": None},
        {"fname": 8, "dialogue": "#Person1#: 응", "summary1": "둘"},
    ]
    text = "\r\n\r\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
    data = data_of({"train.jsonl": text}, columns=params.Columns(summary=["summary1", "summary2"]))
    table = read_table(Path(data.folder) / "train.jsonl", data, "train")
    assert [(row.value.fname, row.value.summaries) for row in table.rows] == [("7", ("하나", "")), ("8", ("둘", ""))]
    assert [row.location for row in table.rows] == ["line 1", "line 3"]
    assert table.format["blank_lines"] == 1


fields = st.text(st.characters(codec="utf-8"), max_size=30)


@given(st.lists(st.tuples(fields, fields, fields), min_size=1, max_size=6))
def test_what_the_csv_module_writes_is_read_back(rows: list[tuple[str, str, str]]) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(["dialogue", "summary", "topic"])
    writer.writerows(rows)
    data = params.Data(columns=params.Columns(id=None))
    table = read_table(io.BytesIO(out.getvalue().encode("utf-8")), data, "x")
    assert [(row.value.dialogue, row.value.summaries[0], row.value.topic) for row in table.rows] == rows


def test_standard_input_is_csv_or_json_lines_with_summaries_optional(good: str) -> None:
    data = params.Data()
    by_csv = read_input(io.BytesIO(good.encode("utf-8")), data, "stdin")
    assert [row.fname for row in by_csv] == ["a", "b", "c"]
    assert by_csv[0].dialogue == "#Person1#: 점심 먹을까요?\n#Person2#: 네, 좋아요."
    bare = "".join(
        json.dumps({"fname": row.fname, "dialogue": row.dialogue}, ensure_ascii=False) + "\n" for row in by_csv
    )
    by_json = read_input(io.StringIO("\n  " + bare), data, "stdin")
    assert [(row.fname, row.dialogue, row.summaries) for row in by_json] == [
        (row.fname, row.dialogue, ()) for row in by_csv
    ]
    utf16 = read_input(io.BytesIO(bare.encode("utf-16")), data.model_copy(update={"encoding": "utf-16"}), "stdin")
    assert utf16 == by_json


def test_standard_input_that_is_neither_gives_one_sentence() -> None:
    with pytest.raises(UserError, match=r"^standard input .*'dialogue'.*#Person1#: "):
        read_input(io.StringIO("#Person1#: 안녕, 잘 지내?\n#Person2#: 응.\n"), params.Data(), "stdin")


def test_input_for_prediction_keeps_an_empty_dialogue_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    text = "fname,dialogue\na,#Person1#: 네\nb,#Person1#:\n"
    rows = read_input(io.StringIO(text), params.Data(), "stdin")
    assert [(row.fname, row.dialogue) for row in rows] == [("a", "#Person1#: 네"), ("b", "")]
    assert re.search(r"empty dialogues kept: 1 of 2", caplog.text)


def test_input_for_prediction_refuses_two_rows_of_one_id() -> None:
    text = "fname,dialogue\na,#Person1#: 네\na,#Person1#: 응\n"
    with pytest.raises(UserError, match=r"row 1 \(line 2\) and row 2 \(line 3\) .*'a'"):
        read_input(io.StringIO(text), params.Data(), "stdin")
