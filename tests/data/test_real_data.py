"""Files of other people, as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from yoyak import params
from yoyak.data.cleaning import clean_dialogue
from yoyak.data.keys import dialogue_key
from yoyak.data.preparing import Prepared, prepare_splits

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
MTS = SHARED / "mts_dialog"
DIALOGSUM = SHARED / "dialogsum"


def separate_and_clean(prepared: Prepared) -> bool:
    keys = [{dialogue_key(row.dialogue) for row in rows} for rows in prepared.splits.values()]
    clean = all(clean_dialogue(row.dialogue) == (row.dialogue, {}) for rows in prepared.splits.values() for row in rows)
    return clean and sum(map(len, keys)) == len(set().union(*keys))


@pytest.mark.skipif(not MTS.is_dir(), reason="../shared/data/mts_dialog is absent")
def test_mts_dialog_runs_unchanged_and_its_leaks_are_found() -> None:
    data = params.Data(
        folder=str(MTS),
        files={
            "train": "MTS-Dialog-TrainingSet.csv",
            "dev": "MTS-Dialog-ValidationSet.csv",
            "test": "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",
        },
        columns=params.Columns(id="ID", dialogue="dialogue", summary="section_text", topic="section_header"),
    )
    prepared = prepare_splits(data)
    # 1,201 rows came in: one repeats another, two are also in the validation set, one is also in the test set.
    assert [len(rows) for rows in prepared.splits.values()] == [1197, 100, 200]
    assert separate_and_clean(prepared)
    train = prepared.report["files"]["train"]
    assert {reason: entry["rows"] for reason, entry in train["dropped"].items()} == {
        "repeats an earlier row": 1,
        "also in dev": 2,
        "also in test": 1,
    }
    assert train["line_ends"]["crlf"] == 11_457
    assert prepared.splits["dev"][0].dialogue.split("\n")[3].startswith("Patient: Yeah, it started when I fell")
    assert prepared.splits["dev"][0].topic == "GENHX"


@pytest.mark.skipif(not DIALOGSUM.is_dir(), reason="../shared/data/dialogsum is absent")
def test_dialogsum_is_split_by_hash() -> None:
    data = params.Data(folder=str(DIALOGSUM), files={"train": "dialogsum.dev.jsonl"})
    prepared = prepare_splits(data)
    assert {name: len(rows) for name, rows in prepared.splits.items()} == {"train": 390, "dev": 51, "test": 59}
    assert separate_and_clean(prepared)
    assert prepared.report["duplicates"]["train"]["dialogues"] == 2
    assert next(iter(prepared.report["masks"]["counts"])) == "#Person1#"
