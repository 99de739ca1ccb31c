"""Predicting a split of any size: some dialogues at a time, and the same candidates however many that are."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from yoyak.data.records import Dialogue
from yoyak.decoding import predicting
from yoyak.decoding.candidates import Candidate, read_candidates
from yoyak.decoding.predicting import predict_split
from yoyak.decoding.summarizer import Summaries, TokenUsage
from yoyak.params import Generation

ROWS = [Dialogue(fname=f"t{number}", dialogue=f"#Person1#: 아, 네!! {number}... 시요.") for number in range(10)]


class Words:
    """Summarizes a dialogue by its last words, and fails on some."""

    generation = Generation()
    new_token_limit = None

    def __init__(self, fails_on: str = "nothing") -> None:
        self.fails_on = fails_on
        self.asked: list[int] = []

    def summarize(
        self, dialogues: Sequence[str], *, generation: Generation | None = None, progress: bool = False
    ) -> Summaries:
        self.asked.append(len(dialogues))
        if any(self.fails_on in dialogue for dialogue in dialogues):
            raise RuntimeError("it fails")
        return Summaries(
            candidates=[[Candidate(dialogue[-6:], -1.0), Candidate(dialogue[:4], -2.0)] for dialogue in dialogues],
            cut=["3" in dialogue for dialogue in dialogues],
            tokens=TokenUsage(),
            measures={"cost": float(len(dialogues))},
        )


class Counted(Collection[Dialogue]):
    """Rows that tell how many of them were taken."""

    taken = 0

    def __iter__(self) -> Iterator[Dialogue]:
        for row in ROWS:
            self.taken += 1
            yield row

    def __len__(self) -> int:
        return len(ROWS)

    def __contains__(self, row: object) -> bool:
        return row in ROWS


def predict(path: Path, summarizer: Words, rows: Collection[Dialogue] = ROWS, views: int = 0) -> predicting.Predicted:
    return predict_split(summarizer, rows, path, generation=Generation(), views=views, seed=1)


@pytest.mark.parametrize("views", [0, 2])
def test_the_window_changes_nothing_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, views: int) -> None:
    whole = predict(tmp_path / "whole.jsonl", Words(), views=views)
    monkeypatch.setattr(predicting, "WINDOW", 3)
    parts = predict(tmp_path / "parts.jsonl", Words(), views=views)
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert parts == whole
    assert (whole.dialogues, whole.truncated, whole.read["head"], whole.measures["cost"]) == (10, 1, 1, 10.0)
    assert list(read_candidates(tmp_path / "whole.jsonl")) == [row.fname for row in ROWS]


def test_no_more_than_a_window_is_read_ahead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(predicting, "WINDOW", 4)
    rows, taken = Counted(), []
    summarizer = Words()
    ask = summarizer.summarize

    def note(*given, **options) -> Summaries:
        taken.append(rows.taken)
        return ask(*given, **options)

    summarizer.summarize = note  # type: ignore[method-assign]
    predict(tmp_path / "test.jsonl", summarizer, rows)
    assert (summarizer.asked, taken) == ([4, 4, 2], [4, 8, 10])
    assert "test: dialogues 5 to 8 of 10" in capsys.readouterr().err


def test_a_split_that_fails_in_its_middle_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predicting, "WINDOW", 4)
    with pytest.raises(RuntimeError):
        predict(tmp_path / "test.jsonl", Words(fails_on=" 6..."))
    assert list(tmp_path.iterdir()) == []
