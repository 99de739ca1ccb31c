from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yoyak.data.lengths import add_token_histograms, bin_edges, length_histogram, length_report, write_length_plots
from yoyak.data.records import Dialogue

SPLITS = {
    "train": [
        Dialogue(fname="a", dialogue="#Person1#: 하나\n#Person2#: 둘", summaries=("하나 둘", "둘")),
        Dialogue(fname="b", dialogue="#Person1#: 셋", summaries=("셋",)),
    ],
    "dev": [Dialogue(fname="c", dialogue="#Person1#: 넷", summaries=("넷 다섯 여섯",))],
}


def test_a_histogram_counts_and_sums_up() -> None:
    assert length_histogram([0, 1, 1, 4, 9, 30], [0, 2, 5, 10]) == {
        "count": 6,
        "min": 0,
        "mean": 7.5,
        "median": 2.5,
        "p95": 30,
        "max": 30,
        "edges": [0, 2, 5, 10],
        "counts": [3, 1, 2],
    }


def test_no_lengths_give_an_empty_report() -> None:
    histogram = length_histogram([], [0, 1])
    assert (histogram["count"], histogram["mean"], histogram["counts"]) == (0, None, [0])


@pytest.mark.parametrize(("lengths", "edges"), [([1], [0]), ([1], [2, 1]), ([0], [1, 2])])
def test_edges_that_cannot_hold_the_lengths_are_refused(lengths: list[int], edges: list[int]) -> None:
    with pytest.raises(ValueError, match="edge"):
        length_histogram(lengths, edges)


@given(st.lists(st.integers(0, 100_000), max_size=50))
def test_edges_hold_every_length(lengths: list[int]) -> None:
    edges = bin_edges(lengths)
    assert 2 <= len(edges) <= 25
    assert edges == sorted(set(edges))
    assert edges[0] == 0
    assert max(lengths, default=0) < edges[-1]
    assert sum(length_histogram(lengths, edges)["counts"]) == len(lengths)


def test_one_long_dialogue_does_not_squeeze_the_others_into_one_bin() -> None:
    assert bin_edges([*range(1, 200), 20_000]) == [*range(0, 201, 10), 20_001]


def test_tokens_are_added_and_everything_is_plotted(tmp_path: Path) -> None:
    report = {"lengths": length_report(SPLITS)}
    calls: list[list[str]] = []

    def encode(texts: list[str]) -> list[int]:
        calls.append(texts)
        return [len(text.split()) for text in texts]

    add_token_histograms(report, SPLITS, encode, "bpe")
    assert len(calls) == 4
    train = report["lengths"]["train"]
    assert train["dialogue"]["turns"]["mean"] == 1.5
    assert train["summary"]["bpe tokens"]["count"] == 3
    assert train["dialogue"]["bpe tokens"]["max"] == 4
    assert train["summary"]["bpe tokens"]["edges"] == report["lengths"]["dev"]["summary"]["bpe tokens"]["edges"]
    with write_length_plots(report, tmp_path / "plots").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    assert list(rows[0]) == ["split", "field", "unit", "low", "high", "count"]
    counts = {(row["split"], row["field"], row["unit"]): 0 for row in rows}
    for row in rows:
        counts[row["split"], row["field"], row["unit"]] += int(row["count"])
    assert counts["train", "summary", "bpe tokens"] == 3
    assert counts["dev", "dialogue", "turns"] == 1
    assert len(counts) == 10
