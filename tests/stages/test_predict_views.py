"""ensemble.tta: the candidates of a dialogue's views behind the member's own, and nothing else changed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE
from yoyak.data.augmenting.views import make_views
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.decoding.candidates import read_candidates
from yoyak.decoding.torch import TorchSummarizer
from yoyak.params import Generation
from yoyak.stages import predict

PARAMS = """\
seed: 20
members:
  bart: {family: seq2seq, checkpoint: local, learning_rate: 0.001}
generation: {max_new_tokens: 12, min_new_tokens: 4, num_beams: 2, num_return_sequences: 2}
ensemble: {tta: %d}
"""
ROWS = [
    Dialogue(fname="a", dialogue=DIALOGUE),
    Dialogue(fname="bare", dialogue="#Person1#: 3"),
    Dialogue(fname="c", dialogue="#Person1#: 아, 세 시요... 네!!\n#Person2#: 응, 네 시. 좋아요ㅎㅎ\n#Person1#: 네."),
    Dialogue(fname="b", dialogue="#Person1#: 세 시에 만나요!! 늦지 마세요.\n#Person2#: 네.\n#Person2#: 그럴게요..."),
]


@pytest.fixture
def member(store, project: Path, tiny_bart: Path) -> Path:
    shutil.copytree(tiny_bart, project / "models/bart")
    for split, rows in {"dev": ROWS, "test": ROWS[::-1]}.items():
        write_jsonl(project / f"prepared/eval/{split}.jsonl", rows)
    write_jsonl(project / "prepared/cases.jsonl", ROWS[:1])
    return project


def predicted(project: Path, tta: int) -> dict[str, dict]:
    (project / "params.yaml").write_text(PARAMS % tta, encoding="utf-8")
    predict.run("bart")
    return {path.stem: read_candidates(path) for path in sorted((project / "predictions/bart").glob("*.jsonl"))}


def metrics(store) -> dict[str, float]:
    runs = store.search_runs([e.experiment_id for e in store.search_experiments()], "tags.`yoyak.stage` = 'predict'")
    return runs[0].data.metrics


def test_without_views_the_output_is_that_of_the_summarizer(member: Path, store) -> None:
    predictions = predicted(member, 0)
    assert sorted(predictions) == ["dev", "test"]
    assert "view" not in (member / "predictions/bart/dev.jsonl").read_text()
    generation = Generation(max_new_tokens=12, min_new_tokens=4, num_beams=2, num_return_sequences=2)
    own = (
        TorchSummarizer.load(member / "models/bart")
        .summarize([row.dialogue for row in ROWS], generation=generation)
        .candidates
    )
    assert list(predictions["dev"].values()) == own
    assert "dev_views" not in metrics(store)


@pytest.mark.slow
def test_candidates_of_views_follow_the_members_own(member: Path, store, capsys) -> None:
    plain, more = predicted(member, 0), predicted(member, 2)
    summarizer = TorchSummarizer.load(member / "models/bart")
    generation = Generation(max_new_tokens=12, min_new_tokens=4, num_beams=2, num_return_sequences=2)
    for split in ("dev", "test"):
        assert list(more[split]) == list(plain[split])
        for row in ROWS:
            own, rest = more[split][row.fname][:2], more[split][row.fname][2:]
            assert own == plain[split][row.fname]
            made = make_views(row.dialogue, 2, 20)
            assert [candidate.view for candidate in rest] == [1, 1, 2, 2][: 2 * len(made)]
            for number, view in enumerate(made, 1):
                expected = summarizer.summarize([view], generation=generation).candidates[0]
                actual = [candidate for candidate in rest if candidate.view == number]
                assert [candidate.text for candidate in actual] == [candidate.text for candidate in expected]
                assert [c.score for c in actual] == pytest.approx([c.score for c in expected], abs=2e-6)
    # One of the four dialogues cannot be changed, and that is said.
    assert "dev: 6 views of 8" in capsys.readouterr().err
    assert metrics(store)["dev_views"] == 6


def test_views_do_not_depend_on_the_order_of_rows(member: Path) -> None:
    predictions = predicted(member, 2)
    for row in ROWS:
        first, second = predictions["dev"][row.fname], predictions["test"][row.fname]
        assert [(candidate.text, candidate.view) for candidate in first] == [(c.text, c.view) for c in second]


def test_truncation_is_counted_for_the_dialogues_and_not_for_their_views(member: Path, store) -> None:
    long = Dialogue(fname="cut", dialogue="\n".join([DIALOGUE] * 30))
    write_jsonl(member / "prepared/eval/dev.jsonl", [long, *ROWS])
    predicted(member, 2)
    assert metrics(store)["dev_truncated"] == 1
