"""`yoyak collect`: every training run of the store in one table, in three formats."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from yoyak.errors import UserError
from yoyak.files import write_json
from yoyak.stages import collect
from yoyak.tracking import lineage, runs


def train(member: str, rate: float, score: float) -> str:
    """Leave what a training leaves, and return its run."""
    params = {"members": {member: {"learning_rate": rate}}, "seed": 1}
    with runs.stage_run("train", member=member, params=params, inputs={}) as run:
        run.log_metrics({"eval_combined": score, "peak_memory_mb": 100})
        lineage.write_receipt(Path("receipts", f"{member}.json"), run.receipt(member, {}))
    return run.run_id


@pytest.fixture
def three(store: str, project: Path) -> list[str]:
    ids = [train("bart", 1e-3, 0.5), train("bart", 2e-3, 0.6)]
    with pytest.raises(RuntimeError), runs.stage_run("train", member="t5|x", params={}, inputs={}):
        raise RuntimeError("lost")
    write_json(Path("metrics/scores/bart.json"), {"dev": 0.61, "test": 0.4})
    return ids


@pytest.mark.usefixtures("three")
def test_a_row_for_each_training_newest_first(three: list[str]) -> None:
    collect.run(output=Path("results.csv"))
    with Path("results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["member"] for row in rows] == ["t5|x", "bart", "bart"]
    assert [row["status"] for row in rows] == ["FAILED", "FINISHED", "FINISHED"]
    assert rows[0]["error"] == "lost"
    assert [float(row["learning_rate"]) for row in rows[1:]] == [2e-3, 1e-3]
    assert [row["run_id"] for row in rows[1:]] == three[::-1]
    # Only the model that stands in models/ has been evaluated.
    assert [row["test_combined"] for row in rows] == ["", "0.4", ""]


@pytest.mark.usefixtures("three")
def test_markdown_and_json_hold_the_same() -> None:
    collect.run("bart", output=Path("results.json"))
    rows = json.loads(Path("results.json").read_text())
    assert [row["eval_combined"] for row in rows] == [0.6, 0.5]
    collect.run("bart", output=Path("results.md"))
    table, _, common = Path("results.md").read_text().partition("All of them:")
    assert table.count("\n| ") == 3
    assert "learning_rate" in table
    assert "- member: bart" in common
    collect.run(output=Path("results.md"))
    assert "t5\\|x" in Path("results.md").read_text()


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize(("member", "output", "words"), [("zebra", "a.csv", "zebra"), (None, "a.txt", r"\.csv")])
def test_what_cannot_be_written_is_said(member: str | None, output: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        collect.run(member, output=Path(output))
    assert not Path(output).exists()
