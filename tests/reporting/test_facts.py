from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.reporting import facts
from yoyak.tracking.registered import Registered

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=8), inner, max_size=9),
    max_leaves=30,
)


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=6))
def test_any_report_becomes_rectangular_tables(report: dict[str, object]) -> None:
    for table in (*facts.make_tables(report), *facts.make_cleaning_tables(report)):
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert len(table.numeric) in (0, len(table.columns))


def test_row_counts_duplicates_and_leakage_are_tabulated() -> None:
    tables = facts.make_cleaning_tables(
        {
            "files": {"train": {"rows_in": 2010, "rows_kept": 2000, "dropped": {"empty_summary": 10}, "changed": {}}},
            "duplicates": {"train": {"rows_beyond_first": 4}, "dev": {"rows_beyond_first": 0}},
            "leakage": [{"between": ["train", "dev"], "dialogues": 2, "rows_removed": {"train": 3}}],
        }
    )
    assert tables[0].rows == (
        ("train", "2,010", "2,000", "empty summary 10", "none", "4"),
        ("dev", "–", "–", "–", "–", "0"),
    )
    assert tables[1].rows == (("train and dev", "2", "train 3"),)


def test_nested_mappings_become_rows_and_histograms_are_left_out() -> None:
    lengths = {"turns": {"median": 11.0, "counts": [0, 1, 2, 3, 4, 5, 6, 7]}}
    table = facts.make_tables({"lengths": {"train": {"dialogue": lengths}, "dev": {"dialogue": lengths}}})[0]
    assert table.title == "lengths"
    assert table.columns == ("", "median")
    assert table.rows == (("train, dialogue, turns", "11"), ("dev, dialogue, turns", "11"))
    assert table.numeric == (False, True)


def test_a_long_table_is_cut_and_counted() -> None:
    table = facts.make_tables({"masks": {f"#Mask{number}#": number for number in range(facts.MAX_ROWS + 5)}})[0]
    assert len(table.rows) == facts.MAX_ROWS + 1
    assert table.rows[-1] == ("5 more", "")


def test_split_sizes(scored: Path) -> None:
    table = facts.make_split_table(scored)
    assert [row[:4] for row in table.rows] == [
        ("dev", "12", "2", "4"),
        ("test", "24", "2", "4"),
        ("gate", "9", "2", "4"),
        ("handwritten", "8", "2", "4"),
    ]


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("postgresql://me:p@ss@db:5432/mlflow", "postgresql://db:5432/mlflow"),
        ("http://token@host/x", "http://host/x"),
    ],
)
def test_credentials_are_not_shown(uri: str, expected: str) -> None:
    registered = Registered(registered=(), decision="", tracking_uri=uri, fingerprint="")
    assert facts.make_registry_section(registered).tracking_uri == expected


def test_params_are_yaml_in_their_order() -> None:
    assert facts.to_yaml({"seed": 20, "data": {"files": {"train": "학습.csv"}}, "checkpoint": None}) == (
        "seed: 20\ndata:\n  files:\n    train: 학습.csv\ncheckpoint: null\n"
    )
