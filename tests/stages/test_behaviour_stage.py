"""yoyak behaviour: a real member, the project's own cases, what is logged and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE
from yoyak.behaviour.cases import load_cases
from yoyak.behaviour.changes import texts_of
from yoyak.behaviour.results import read_behaviour
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.errors import UserError
from yoyak.stages import behaviour, predict

PARAMS = """\
seed: 20
members:
  bart: {family: seq2seq, checkpoint: local, learning_rate: 0.001}
generation: {max_new_tokens: 12, min_new_tokens: 4, num_beams: 2, num_return_sequences: 2}
behaviour: {cases: [CASES]}
"""
CASES = """\
language: ko
empty: ["", " ", "#Person1#:"]
fillers: [음.]
dialogues:
  - name: meeting
    dialogue: |
      #Person1#: 내일 세 시에 만날까요?
      #Person2#: 아니요, 네 시가 좋아요.
  - name: short
    dialogue: "#Person1#: 네 시가 좋아요."
"""


@pytest.fixture
def member(store, project: Path, tiny_bart: Path) -> Path:
    shutil.copytree(tiny_bart, project / "models/bart")
    rows = [
        Dialogue(fname=f"test_{number}", dialogue=DIALOGUE, summaries=("두 사람이 만난다.",)) for number in range(4)
    ]
    write_jsonl(project / "prepared/eval/test.jsonl", rows)
    (project / "cases").mkdir()
    (project / "cases/mine.yaml").write_text(CASES, encoding="utf-8")
    (project / "params.yaml").write_text(PARAMS.replace("CASES", "mine"), encoding="utf-8")
    texts = texts_of(load_cases(["mine"]).values())
    write_jsonl(
        project / "prepared/cases.jsonl",
        [Dialogue(fname=str(number), dialogue=text, summaries=()) for number, text in enumerate(texts)],
    )
    predict.run("bart")
    texts = ["네 시에 만난다.", "다섯 시에 만난다.", "#Person7#이 온다.", "민수가 온다."]
    write_candidates(
        project / "predictions/bart/test.jsonl",
        [(row.fname, [Candidate(text, -1.0), Candidate("99시", -2.0)]) for row, text in zip(rows, texts, strict=True)],
    )
    return project


def test_rates_of_cases_and_of_the_test_split_are_written_and_logged(member: Path, store, capsys) -> None:
    behaviour.run()
    found = read_behaviour(member / "behaviour/bart.json")
    assert (found.member, found.cases) == ("bart", ("mine",))
    assert found.rates["empty_accepted"].failures == 0
    assert found.rates["empty_accepted"].n == 3
    assert found.rates["one_turn_empty"].n == 1
    assert found.rates["filler_changed"].n == found.rates["swap_changed"].n == 1
    assert "order_changed" not in found.rates
    of_test = {name: rate.failures for name, rate in found.rates.items() if name.startswith("test_")}
    assert of_test == {"test_masks_made_up": 1, "test_numbers_made_up": 1, "test_names_made_up": 1}
    assert all(rate.failures == 0 for rate in found.references.values())
    runs = store.search_runs([e.experiment_id for e in store.search_experiments()], "tags.`yoyak.stage` = 'behaviour'")
    assert runs[0].data.metrics == {f"bart/{name}": rate.rate for name, rate in found.rates.items()}
    assert {"failures.json", "behaviour"} <= {item.path for item in store.list_artifacts(runs[0].info.run_id)}
    assert "1 of 4" in capsys.readouterr().out
    first = (member / "behaviour/bart.json").read_bytes()
    behaviour.run()
    assert (member / "behaviour/bart.json").read_bytes() == first


def test_no_examples_need_no_table(member: Path, store) -> None:
    text = PARAMS.replace("[CASES]", "[mine], examples: 0")
    (member / "params.yaml").write_text(text, encoding="utf-8")
    behaviour.run()
    found = read_behaviour(member / "behaviour/bart.json")
    assert not found.failures
    assert found.rates["test_masks_made_up"].failures == 1
    runs = store.search_runs([e.experiment_id for e in store.search_experiments()])
    assert {run.info.status for run in runs if "mlflow.parentRunId" in run.data.tags} == {"FINISHED"}


def test_cases_are_read_before_anything_is_loaded_or_logged(member: Path, store) -> None:
    (member / "params.yaml").write_text(PARAMS.replace("CASES", "mne"), encoding="utf-8")
    with pytest.raises(UserError, match="did you mean 'mine'"):
        behaviour.run()
    stages = {run.data.tags.get("yoyak.stage") for run in store.search_runs(["1"])}
    assert "behaviour" not in stages


@pytest.mark.parametrize("dialogue", ["", " \n", "#Person1#:\n#Person2#: "])
def test_the_server_refuses_a_dialogue_without_words(dialogue: str) -> None:
    assert behaviour.is_refused(dialogue)
    assert not behaviour.is_refused("#Person1#: 안녕")
