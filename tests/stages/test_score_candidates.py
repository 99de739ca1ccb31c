"""The stage score_candidates, the strategies that use what it writes, and the ensemble that is served with them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mlflow_helpers import DIALOGUE, make_bart
from yoyak.data.records import Dialogue, write_jsonl
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.decoding.likelihood import per_character
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.combine import combine, load
from yoyak.ensemble.pool import make_row, read_rows
from yoyak.ensemble.splits import read_choices
from yoyak.ensemble.summarizer import load_ensemble, save_ensemble
from yoyak.errors import UserError
from yoyak.models.spec import load_spec, save_spec
from yoyak.params import Generation
from yoyak.stages import ensemble, score_candidates
from yoyak.tracking import lineage

TRAINED = "checkpoint: local, learning_rate: 0.001"
PARAMS = """\
members:
  a: {family: seq2seq, TRAINED}
  b: {family: seq2seq, TRAINED}
ensemble:
  granularity: eojeol
  strategies:
    vote: {type: vote}
""".replace("TRAINED", TRAINED)
LIKELIHOOD = "    likelihood: {type: likelihood, weights: {a: 2, b: 1}}\n"
ROWS = [
    Dialogue(fname=name, dialogue=f"{DIALOGUE}\n#Person1#: {name}", summaries=("네 시에 만난다.",)) for name in "xyz"
]
TEXTS = {"a": ["세 시에 만난다.", "만난다."], "b": ["네 시에 만난다.", "만난다."]}


@pytest.fixture
def members(store, project: Path) -> Path:
    for seed, (member, texts) in enumerate(TEXTS.items(), 5):
        make_bart(project / "models" / member, seed=seed)
        for split in ("dev", "test"):
            nbest = [Candidate(text, -0.1 * rank) for rank, text in enumerate(texts)]
            write_candidates(project / f"predictions/{member}/{split}.jsonl", [(row.fname, nbest) for row in ROWS])
            write_jsonl(project / f"prepared/eval/{split}.jsonl", ROWS)
    (project / "params.yaml").write_text(PARAMS + LIKELIHOOD, encoding="utf-8")
    return project


def test_each_member_scores_all_candidates_and_the_likeliest_is_chosen(members: Path, capsys) -> None:
    score_candidates.run()
    assert "18 candidates, 9 of them new" in capsys.readouterr().err
    texts = list(dict.fromkeys(text for nbest in TEXTS.values() for text in nbest))
    scores = {}
    for member in TEXTS:
        model = TorchSummarizer.load(members / "models" / member)
        expected = model.log_likelihoods([row.dialogue for row in ROWS], [texts] * 3)
        lines = (members / f"candidate_scores/{member}/test.jsonl").read_text(encoding="utf-8").splitlines()
        scores[member] = [json.loads(line)["scores"] for line in lines]
        for found, values in zip(scores[member], expected, strict=True):
            assert found == pytest.approx(
                {text: per_character(value, text) for text, value in zip(texts, values, strict=True)}, abs=1e-5
            )
    ensemble.run("likelihood")
    choices = read_choices(members / "ensembles/likelihood/test.jsonl")
    for index, choice in enumerate(choices.values()):
        likelihood = {text: 2 * scores["a"][index][text] + scores["b"][index][text] for text in texts}
        assert choice.text == max(likelihood, key=lambda text: round(likelihood[text], 9))
        assert choice.without == {"a": TEXTS["b"][0], "b": TEXTS["a"][0]}
    score_candidates.run()
    assert "18 candidates, 0 of them new" in capsys.readouterr().err


def test_nothing_is_computed_for_strategies_that_use_no_likelihoods(members: Path, capsys) -> None:
    (members / "params.yaml").write_text(PARAMS, encoding="utf-8")
    score_candidates.run()
    assert "nothing to score" in capsys.readouterr().err
    assert [path.name for path in (members / "candidate_scores").iterdir()] == ["README.md"]


def test_the_ensemble_goes_on_only_with_scores_of_all_candidates(members: Path) -> None:
    with pytest.raises(UserError, match="run `yoyak score_candidates`"):
        ensemble.run("likelihood")
    score_candidates.run()
    write_candidates(
        members / "predictions/b/test.jsonl", [(row.fname, [Candidate("새로운 요약이다.", -0.1)]) for row in ROWS]
    )
    with pytest.raises(UserError, match="'a' has not scored all candidates of dialogue 'x'"):
        ensemble.run("likelihood")


def test_what_is_served_chooses_like_the_pipeline(members: Path, tmp_path: Path) -> None:
    score_candidates.run()
    ensemble.run("likelihood")
    combiner = load(members / "ensembles/likelihood")
    assert combiner.scorers == ("a", "b")
    generation = Generation(max_new_tokens=8, num_beams=2, num_return_sequences=2)
    folder = tmp_path / "served"
    save_ensemble(
        folder, {name: members / "models" / name for name in TEXTS}, generation, {name: {} for name in TEXTS},
        combiner=combiner,
    )  # fmt: skip
    dialogues = [row.dialogue for row in ROWS]
    summaries = load_ensemble(folder).summarize(dialogues)
    models = {name: TorchSummarizer.load(members / "models" / name) for name in TEXTS}
    nbests = {name: model.summarize(dialogues, generation=generation).candidates for name, model in models.items()}
    rows = []
    for index, row in enumerate(ROWS):
        candidates = {name: nbests[name][index] for name in models}
        texts = list(dict.fromkeys(candidate.text for nbest in candidates.values() for candidate in nbest))
        likelihoods = {
            name: {text: per_character(value, text) for text, value in zip(texts, values, strict=True)}
            for name, model in models.items()
            for values in model.log_likelihoods([row.dialogue], [texts])
        }
        rows.append(make_row(row, candidates, likelihoods))
    assert summaries.texts == [outcome.text for outcome in combine(combiner, rows)]


def test_rows_are_read_with_their_scores(members: Path) -> None:
    score_candidates.run()
    predictions = {name: members / f"predictions/{name}/dev.jsonl" for name in TEXTS}
    [row, *_] = read_rows(
        members / "prepared/eval/dev.jsonl", predictions, {"a": members / "candidate_scores/a/dev.jsonl"}
    )
    assert set(row.likelihoods) == {"a"}
    assert set(row.likelihoods["a"]) == {text for nbest in TEXTS.values() for text in nbest}


def test_what_is_known_is_computed_anew_by_other_libraries(members: Path, monkeypatch, capsys) -> None:
    score_candidates.run()
    capsys.readouterr()
    monkeypatch.setattr(lineage, "versions", lambda: {"torch": "99.0"})
    score_candidates.run()
    assert capsys.readouterr().err.count("18 candidates, 9 of them new") == 2


def test_a_member_without_finite_likelihoods_is_named(members: Path) -> None:
    file = members / "models/b/model.safetensors"
    weights = load_file(file)
    save_file({name: torch.full_like(value, torch.nan) for name, value in weights.items()}, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"members.b computes log-likelihoods of dialogue 'x' that are not finite"):
        score_candidates.run()
    assert not (members / "candidate_scores").exists()


def make_api(folder: Path, member: str) -> None:
    """Let a member be one behind an API, which cannot score."""
    models, path = folder / "models", folder / "params.yaml"
    if not (models / member).exists():
        shutil.copytree(models / "a", models / member)
        shutil.copytree(folder / "predictions/b", folder / "predictions" / member)
    save_spec(models / member, replace(load_spec(models / member), family="api"))
    text = path.read_text(encoding="utf-8").replace(f"  {member}: {{family: seq2seq, {TRAINED}}}\n", "")
    line = f"  {member}: {{family: api, base_url: 'http://127.0.0.1:9/v1', model: x, prompt: prompts/p.yaml}}\n"
    path.write_text(text.replace("ensemble:\n", f"{line}ensemble:\n"), encoding="utf-8")


def test_a_family_that_cannot_score_is_left_out_with_a_sentence(members: Path, capsys) -> None:
    make_api(members, "b")
    score_candidates.run()
    assert "b scores no candidates: models of the family api cannot tell" in capsys.readouterr().err
    ensemble.run("likelihood")
    assert load(members / "ensembles/likelihood").scorers == ("a",)


def test_nothing_is_compared_without_the_only_member_that_scores(members: Path) -> None:
    make_api(members, "b")
    make_api(members, "c")
    path = members / "params.yaml"
    text = path.read_text(encoding="utf-8").replace("weights: {a: 2, b: 1}", "weights: dev")
    path.write_text(text, encoding="utf-8")
    score_candidates.run()
    ensemble.run("likelihood")
    for choice in read_choices(members / "ensembles/likelihood/test.jsonl").values():
        assert set(choice.without) == {"b", "c"}
