"""The column of facts: how it is read, written for evaluation, and refused where it is wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from yoyak import project
from yoyak.data.facts import NO_FACTS, Fact, KnownFacts, dump_facts, parse_facts, read_facts
from yoyak.data.preparing import prepare_splits
from yoyak.data.samples import write_corpus
from yoyak.errors import UserError
from yoyak.params import Data
from yoyak.preparation.write import write_prepared


def test_a_cell_is_read_and_written() -> None:
    facts = parse_facts('{"time": ["7 pm | seven"], "wrong": ["6 pm"], "name": ["Tom"]}', "here")
    assert facts == KnownFacts((Fact("time", ("7 pm", "seven")), Fact("name", ("Tom",))), ("6 pm",))
    assert parse_facts(dump_facts(facts), "here") == facts
    assert parse_facts("", "here") == parse_facts(None, "here") == parse_facts("{}", "here") == NO_FACTS


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("7 pm", "must be a JSON object"),
        ("[" * 100_000, "must be a JSON object"),
        ('{"times": ["7 pm"]}', "did you mean 'time'"),
        ('{"time": "7 pm"}', "must be a list of texts"),
        ('{"time": [7]}', "must be a list of texts"),
        ('{"time": [" | "]}', "must be a list of texts"),
        (3, "must be a JSON object"),
    ],
)
def test_anything_else_is_refused_where_it_stands(cell: object, sentence: str) -> None:
    with pytest.raises(UserError, match=rf"^dev\.csv, row 3: .*{sentence}"):
        parse_facts(cell, "dev.csv, row 3")


def test_the_facts_of_all_splits_but_train_are_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus("data", train=12, dev=4, test=4, gate=3, seed=1)
    columns = {"summary": ["summary", "summary1", "summary2", "summary3"], "slice": "slice", "facts": "facts"}
    files = {name: f"{name}.csv" for name in ("train", "dev", "test", "gate")}
    data = Data.model_validate({"columns": columns, "files": files})
    prepared = prepare_splits(data)
    write_prepared(prepared, {}, project.PREPARED, mask_tokens=True)
    facts = read_facts(project.FACTS)
    assert {split: len(rows) for split, rows in facts.items()} == {"dev": 4, "test": 4, "gate": 3}
    with Path("data/test.csv").open(encoding="utf-8", newline="") as rows:
        for row in csv.DictReader(rows):
            assert facts["test"][row["fname"]] == parse_facts(json.loads(row["facts"]), "here")
            assert all(fact.wordings[0] in row["summary1"] for fact in facts["test"][row["fname"]].stated)
    # They change nothing that is trained on.
    assert "facts" not in project.TRAIN_SPLIT.read_text(encoding="utf-8")
    assert "facts" not in project.DEV_SPLIT.read_text(encoding="utf-8")


def test_data_without_facts_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_corpus("data", train=12, dev=4, test=4, gate=3, seed=1)
    columns = {"summary": ["summary", "summary1"]}
    prepared = prepare_splits(Data.model_validate({"columns": columns}))
    assert list(prepared.facts) == ["dev", "test"]
    assert not any(row.facts for rows in prepared.facts.values() for row in rows)
