"""Places of input and output: paths, URLs and patterns."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak.batch_scoring.storage import find_files, list_names, open_storage, read_bytes, write_whole
from yoyak.errors import UserError


def test_a_missing_file_names_the_nearest_one(tmp_path: Path) -> None:
    (tmp_path / "dialogues.csv").touch()
    with pytest.raises(UserError, match=r"is missing \(did you mean 'dialogues\.csv'\?\)"):
        find_files(open_storage(str(tmp_path / "dialogue.csv")), (".csv",))


def test_a_pattern_or_folder_without_files_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r"No file matches .*\*\.parquet"):
        find_files(open_storage(str(tmp_path / "*.parquet")), (".parquet",))
    with pytest.raises(UserError, match=r"No file in the folder ends in \.parquet"):
        find_files(open_storage(str(tmp_path)), (".parquet",))


def test_two_stars_match_folders_and_one_does_not(tmp_path: Path) -> None:
    for name in ("a.csv", "x/b.csv", "x/y/c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def find(pattern: str) -> list[str]:
        files = find_files(open_storage(f"{tmp_path}/{pattern}"), (".csv",))
        return [str(Path(file.path).relative_to(tmp_path)) for file in files]

    assert find("*.csv") == ["a.csv"]
    assert find("*/*.csv") == ["x/b.csv"]
    assert find("**/*.csv") == ["a.csv", "x/b.csv", "x/y/c.csv"]


def test_a_file_that_is_there_is_found_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "data[1]*.csv").touch()
    [file] = find_files(open_storage(str(tmp_path / "data[1]*.csv")), (".csv",))
    assert Path(file.path).name == "data[1]*.csv"


def test_wildcards_leave_hidden_files_out(tmp_path: Path) -> None:
    for name in ("a.csv", ".a.csv", ".trash/b.csv", "_c.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def find(pattern: str) -> list[str]:
        files = find_files(open_storage(f"{tmp_path}/{pattern}"), (".csv",))
        return [str(Path(file.path).relative_to(tmp_path)) for file in files]

    assert find("**/*.csv") == find("*.csv") == ["_c.csv", "a.csv"]
    assert find(".trash/*.csv") == [".trash/b.csv"]
    assert find(".*.csv") == [".a.csv"]


def test_suffixes_may_be_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "A.CSV").touch()
    [file] = find_files(open_storage(str(tmp_path)), (".csv",))
    assert Path(file.path).name == "A.CSV"


def test_a_file_is_replaced_whole_and_nothing_else_is_left(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path / "out"))
    for content in (b"first", b"second"):
        write_whole(storage, storage.join("deep", "file"), content)
        assert read_bytes(storage, storage.join("deep", "file")) == content
    assert list_names(storage, "deep") == {"file"}


def test_what_pyarrow_does_not_know_is_opened_with_fsspec() -> None:
    storage = open_storage("memory://folder")
    write_whole(storage, storage.join("a.csv"), b"content")
    [file] = find_files(open_storage("memory://folder/*.csv"), (".csv",))
    assert (file.size, read_bytes(storage, file.path)) == (7, b"content")


def test_an_unknown_kind_of_url_is_an_error() -> None:
    with pytest.raises(UserError, match="nowhere://bucket cannot be opened"):
        open_storage("nowhere://bucket")


def test_the_options_of_a_url_reach_pyarrow() -> None:
    storage = open_storage("s3://bucket/key/*.parquet?region=eu-west-1&endpoint_override=127.0.0.1:9&scheme=http")
    assert storage.filesystem.type_name == "s3"
    assert storage.path == "bucket/key/*.parquet"
    assert storage.show() == "s3://bucket/key/*.parquet"
