"""The evaluation of the pipeline's files: some dialogues at a time, and the same files however many that are."""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from yoyak import params, project
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.ensemble import evaluate
from yoyak.ensemble.evaluate import PipelineScores, score_pipeline
from yoyak.ensemble.splits import combine_splits
from yoyak.errors import UserError
from yoyak.params.ensemble import Vote
from yoyak.params.stages import EvaluateParams
from yoyak.scoring import evaluation, resampling

PARAMS = """\
members:
  a: {family: seq2seq, checkpoint: local, learning_rate: 0.001}
  b: {family: seq2seq, checkpoint: local, learning_rate: 0.001}
ensemble:
  granularity: eojeol
  strategies:
    vote: {type: vote}
scoring: {granularities: [eojeol, syllable], bootstrap_samples: 100, samples: 5}
"""
SENTENCE = "저녁에 영화를 보고 극장 앞에서 만나 표를 예매하고 일곱 시에 친구와 커피를 마신다"
WORDS = SENTENCE.split()
SIZES = {"dev": 12, "test": 11, "gate": 5}


def text(chance: random.Random, count: int) -> str:
    return f"#Person1#은 {' '.join(chance.choices(WORDS, k=count))}."


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluateParams:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text(PARAMS, encoding="utf-8")
    chance = random.Random(1)
    for split, size in SIZES.items():
        rows = [
            Dialogue(
                fname=f"{split}_{number}",
                dialogue="\n".join(f"#Person{turn % 2 + 1}#: {text(chance, 5)}" for turn in range(3)),
                summaries=tuple(text(chance, 6) for _ in range(1 + 2 * (split == "test"))),
                slice=("seen", "unseen")[number % 2] if split == "test" else "",
            )
            for number in range(size)
        ]
        write_jsonl(project.split_file(split), rows)
        for member in "ab":
            nbests = [[Candidate(text(chance, 6), -0.1 * rank) for rank in range(3)] for _ in rows]
            names = [row.fname for row in rows]
            write_candidates(Path("predictions", member, f"{split}.jsonl"), zip(names, nbests, strict=True))
    folders = {member: project.predictions_folder(member) for member in "ab"}
    out = project.ensemble_folder("vote")
    out.mkdir(parents=True)
    combine_splits(Vote(type="vote"), project.EVAL_SPLITS, folders, out, granularity="eojeol", processes=1, seed=1)
    return params.load(EvaluateParams)


def score(settings: EvaluateParams, monkeypatch: pytest.MonkeyPatch, window: int) -> tuple[PipelineScores, dict]:
    for module in (evaluate, evaluation):
        monkeypatch.setattr(module, "WINDOW", window)
    scores = score_pipeline(settings)
    folders = (project.EVALUATION, project.SCORES, project.FACT_METRICS)
    files = {path.as_posix(): path.read_bytes() for folder in folders for path in sorted(folder.iterdir())}
    return scores, files


def test_windows_and_resampling_in_pieces_change_no_file(pipeline, monkeypatch) -> None:
    whole, files = score(pipeline, monkeypatch, 1000)
    assert len(files) == 4 + 2 * 3 + 1
    monkeypatch.setattr(resampling, "CELLS", 40)
    parts, same_files = score(pipeline, monkeypatch, 4)
    assert same_files == files
    assert parts == whole
    assert whole.split_sizes == {"dev": 12, "gate": 5, "test": 11}
    assert [row["fname"] for row in whole.samples[::3]] == ["test_0", "test_2", "test_4", "test_6", "test_8"]


def test_dialogues_are_let_go(pipeline, monkeypatch) -> None:
    class Tracked(Dialogue):
        pass

    alive: set[int] = set()
    most = 0
    read = evaluate.DialogueFile.__iter__

    def tracked(file) -> Iterator[Dialogue]:
        nonlocal most
        for row in read(file):
            kept = Tracked(**{name: getattr(row, name) for name in Dialogue.__slots__})
            alive.add(id(kept))
            weakref.finalize(kept, alive.discard, id(kept))
            most = max(most, len(alive))
            yield kept

    monkeypatch.setattr(evaluate.DialogueFile, "__iter__", tracked)
    score(pipeline, monkeypatch, 3)
    assert most <= 3 * 3, "of 28 dialogues, no more than those of the window, the last one and the next"


def test_a_summary_that_is_missing_is_named(pipeline, monkeypatch) -> None:
    path = Path("predictions/b/test.jsonl")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[:7] + lines[8:]), encoding="utf-8")
    with pytest.raises(UserError, match=r"test\.jsonl: member 'b' has no prediction for dialogue 'test_7'"):
        score(pipeline, monkeypatch, 3)
