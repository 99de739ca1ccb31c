"""The stage on a small project: choices on every split, choices without each member, and cross-fitting on dev."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from ensemble.ensemble_rows import keep_members, row_of, write_members
from yoyak import params
from yoyak.data.records import Dialogue, read_jsonl, write_jsonl
from yoyak.decoding.candidates import Candidate, read_candidates, write_candidates
from yoyak.ensemble import combine as combining
from yoyak.ensemble.combine import FILE, combine, load
from yoyak.ensemble.fitting import fit
from yoyak.ensemble.folds import make_folds
from yoyak.ensemble.pool import Row, make_row, read_rows
from yoyak.ensemble.splits import Choice, combine_splits, read_choices
from yoyak.errors import UserError
from yoyak.params.ensemble import Mbr, OfCandidates, Stack, Vote
from yoyak.stages import ensemble

WORDS = list("가나다라마바사아자차")
MEMBERS = ("good", "fair", "bad")
STRATEGIES = {
    "vote": {"type": "vote"},
    "weighted": {"type": "weighted"},
    "mbr": {"type": "mbr", "candidates": 2},
    "stack": {"type": "stack", "folds": 4, "rankers": ["ridge"], "likelihoods": False},
    "fitted": {"type": "vote", "weights": "fit"},
    "heavy": {"type": "vote", "weights": {"good": 3, "fair": 1, "bad": 0}},
    "single": {"type": "mbr", "members": ["fair"]},
}


def split_of(count: int, seed: int, split: str) -> tuple[list[Dialogue], list[Row]]:
    """Dialogues, each there twice, and what a good, a fair and a bad member make of them."""
    draw = np.random.default_rng(seed)
    dialogues, rows = [], []
    for number in range(count):
        truth = draw.choice(WORDS, size=8)
        texts = {}
        for member, noise in zip(MEMBERS, (0.1, 0.4, 0.9), strict=True):
            nbest = [np.where(draw.random(8) < noise, draw.choice(WORDS, size=8), truth) for _ in range(3)]
            texts[member] = [" ".join(text) for text in nbest]
        fname, dialogue = f"{split}_{number}", f"#Person1#: {number // 2}"
        dialogues.append(Dialogue(fname=fname, dialogue=dialogue, summaries=(" ".join(truth),)))
        rows.append(row_of(fname, dialogue, **texts))
    return dialogues, rows


def fill(folder: Path) -> dict[str, list[Row]]:
    """Write prepared/ and predictions/ of dev and test; `bad` has its lines in another order."""
    rows_by_split = {}
    for seed, (split, count) in enumerate({"dev": 20, "test": 9}.items(), 2):
        dialogues, rows = split_of(count, seed, split)
        write_jsonl(folder / f"prepared/eval/{split}.jsonl", dialogues)
        write_members(folder / "predictions", split, rows)
        backwards = [(row.fname, row.candidates["bad"]) for row in rows[::-1]]
        write_candidates(folder / f"predictions/bad/{split}.jsonl", backwards)
        rows_by_split[split] = rows
    return rows_by_split


def write_params(folder: Path, **ensemble: object) -> None:
    member = {"family": "seq2seq", "checkpoint": "local", "learning_rate": 0.001}
    tree = {
        "seed": 20,
        "members": {name: dict(member) for name in MEMBERS},
        "ensemble": {"granularity": "eojeol", "min_members": 1, "strategies": STRATEGIES, **ensemble},
    }
    with (folder / "params.yaml").open("w", encoding="utf-8") as out:
        YAML().dump(tree, out)


@pytest.fixture
def rows(store, project: Path) -> dict[str, list[Row]]:
    write_params(project)
    return fill(project)


def combined(folder: Path, strategy: OfCandidates, members=MEMBERS, processes: int = 1) -> dict[str, dict[str, Choice]]:
    out = folder / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    combine_splits(
        strategy,
        folder / "prepared/eval",
        {member: folder / "predictions" / member for member in members},
        out,
        granularity="eojeol",
        processes=processes,
        seed=20,
    )
    return {path.stem: read_choices(path) for path in sorted(out.glob("*.jsonl"))}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name == "fitted" else []) for name in STRATEGIES]
)
def test_the_stage_writes_every_split_a_combiner_and_a_run(name: str, rows, store, project: Path, capsys) -> None:
    ensemble.run(name)
    out = project / "ensembles" / name
    assert sorted(path.name for path in out.iterdir()) == [FILE, "dev.jsonl", "info.json", "test.jsonl"]
    combiner = load(out)
    expected = combine(combiner, rows["test"])
    choices = read_choices(out / "test.jsonl")
    assert list(choices) == [row.fname for row in rows["test"]]
    assert [choice.text for choice in choices.values()] == [outcome.text for outcome in expected]
    candidates = read_candidates(out / "test.jsonl")
    assert [nbest[0].text for nbest in candidates.values()] == [outcome.text for outcome in expected]
    assert [nbest[0].score for nbest in candidates.values()] == [outcome.score for outcome in expected]
    for row, choice in zip(rows["test"], choices.values(), strict=True):
        if choice.member:
            assert row.candidates[choice.member][choice.rank].text == choice.text
    run = store.search_runs([store.get_experiment_by_name("yoyak").experiment_id], "tags.`yoyak.stage` = 'ensemble'")[0]
    assert run.info.status == "FINISHED"
    assert {key: value for key, value in run.data.metrics.items() if key.startswith("weight_")} == pytest.approx(
        {f"weight_{member}": weight for member, weight in combiner.weights.items()}
    )
    info = json.loads((out / "info.json").read_text())
    assert json.loads(capsys.readouterr().out) == info
    members = 1 if name == "single" else 3
    assert (info["dialogues"], info["candidates_per_dialogue"]) == (29, 3 * members)
    assert info["pass_through"] is (name == "single")


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in STRATEGIES if name not in ("fitted", "single")),
        pytest.param("fitted", marks=pytest.mark.slow),
    ],
)
def test_without_a_member_is_the_outcome_of_the_others(name: str, rows, project: Path) -> None:
    ensemble.run(name)
    dev = [row.summaries for row in read_jsonl(project / "prepared/eval/dev.jsonl")]
    strategy = params.load(params.Params).ensemble.strategies[name]
    choices = {split: read_choices(project / f"ensembles/{name}/{split}.jsonl") for split in ("dev", "test")}
    for excluded in MEMBERS:
        remaining = [member for member in MEMBERS if member != excluded]
        fitted = fit(strategy, remaining, rows["dev"], dev, granularity="eojeol", seed=20)
        assert [choice.without[excluded] for choice in choices["dev"].values()] == [o.text for o in fitted.outcomes]
        outcomes = combine(fitted.combiner, keep_members(rows["test"], remaining))
        assert [choice.without[excluded] for choice in choices["test"].values()] == [o.text for o in outcomes]
    assert all(list(choice.without) == list(MEMBERS) for choice in choices["dev"].values())


def test_dev_is_combined_by_rerankers_that_did_not_see_the_dialogue(rows, project: Path) -> None:
    ensemble.run("stack")
    dev = rows["dev"]
    texts = [choice.text for choice in read_choices(project / "ensembles/stack/dev.jsonl").values()]
    references = [row.summaries for row in read_jsonl(project / "prepared/eval/dev.jsonl")]
    strategy = params.load(params.Params).ensemble.strategies["stack"]
    whole = fit(strategy, MEMBERS, dev, references, granularity="eojeol", seed=20)
    assert texts == [outcome.text for outcome in whole.outcomes]
    for fold in make_folds([row.dialogue for row in dev], 4):
        # Each dialogue is there twice, and both are in one fold.
        assert {index ^ 1 for index in fold.held_out} == set(fold.held_out)


@pytest.mark.slow
def test_the_order_of_lines_does_not_matter_and_neither_do_processes(tmp_path: Path, monkeypatch) -> None:
    fill(tmp_path)
    first = combined(tmp_path, Mbr(type="mbr"))
    for split in ("dev", "test"):
        path = tmp_path / f"predictions/good/{split}.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(np.random.default_rng(1).permutation(lines)))
    assert combined(tmp_path, Mbr(type="mbr")) == first
    monkeypatch.setattr(combining, "BATCH", 2)
    assert combined(tmp_path, Mbr(type="mbr"), processes=2) == first


def test_too_few_members_are_an_error_and_one_passes_through_if_params_allow_it(rows, project: Path) -> None:
    write_params(project, min_members=2)
    with pytest.raises(UserError, match=r"single has 1 member \(fair\)"):
        ensemble.run("single")
    assert not (project / "ensembles/single").exists()
    write_params(project, min_members=1)
    ensemble.run("single")
    choices = read_choices(project / "ensembles/single/test.jsonl")
    assert [choice.text for choice in choices.values()] == [row.best("fair") for row in rows["test"]]
    assert all(choice == Choice(text=choice.text, member="fair", rank=0, without={}) for choice in choices.values())


def test_a_row_that_is_missing_for_one_member_leaves_the_old_ensemble(rows, store, project: Path) -> None:
    ensemble.run("vote")
    before = (project / "ensembles/vote/test.jsonl").read_bytes()
    path = project / "predictions/fair/test.jsonl"
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if '"test_4"' not in line))
    with pytest.raises(UserError, match=r"'fair'.*'test_4'"):
        ensemble.run("vote")
    assert (project / "ensembles/vote/test.jsonl").read_bytes() == before
    assert [path.name for path in (project / "ensembles").iterdir()] == ["vote"]
    runs = store.search_runs([store.get_experiment_by_name("yoyak").experiment_id], "tags.`yoyak.stage` = 'ensemble'")
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]


def test_missing_inputs_are_named(rows, project: Path) -> None:
    (project / "predictions/bad/test.jsonl").unlink()
    with pytest.raises(UserError, match="'bad'"):
        ensemble.run("vote")
    shutil.rmtree(project / "predictions/bad")
    with pytest.raises(UserError, match="predictions/bad"):
        ensemble.run("vote")
    fill(project)
    (project / "prepared/eval/dev.jsonl").unlink()
    with pytest.raises(UserError, match="dev split"):
        ensemble.run("vote")
    with pytest.raises(UserError, match=r"'vot' \(did you mean 'vote'"):
        ensemble.run("vot")


@pytest.mark.parametrize(
    "strategy", [Vote(type="vote"), Mbr(type="mbr"), Stack(type="stack", folds=2)], ids=lambda s: s.type
)
def test_unusual_predictions(strategy: OfCandidates, tmp_path: Path) -> None:
    """Equal members, empty texts, one candidate beside many, scores that are no numbers."""
    dialogues = [Dialogue(fname=str(n), dialogue=f"#Person1#: {n}", summaries=("가 나",)) for n in range(6)]
    candidates = {
        "a": [Candidate("가 나", math.nan)],
        "b": [Candidate("가 나", -1.0), Candidate("", -math.inf), Candidate("가 다", -3.0, 1)],
        "c": [Candidate("", -0.1)],
    }
    odd = [make_row(dialogue, candidates) for dialogue in dialogues]
    for split in ("dev", "test"):
        write_jsonl(tmp_path / f"prepared/eval/{split}.jsonl", dialogues)
        write_members(tmp_path / "predictions", split, odd)
        for member, nbest in candidates.items():
            write_candidates(tmp_path / f"predictions/{member}/{split}.jsonl", [(str(n), nbest) for n in range(6)])
    choices = combined(tmp_path, strategy, members=("a", "b", "c"))
    for split in ("dev", "test"):
        assert [choice.text for choice in choices[split].values()] == ["가 나"] * 6
        assert {choice.without["a"] for choice in choices[split].values()} <= {"가 나", "가 다"}
        assert {choice.without["b"] for choice in choices[split].values()} == {"가 나"}
    if strategy.type != "vote":
        assert {(choice.member, choice.rank) for choice in choices["test"].values()} == {("a", 0)}


def test_repaired_scores_are_counted(rows, project: Path) -> None:
    path = project / "predictions/good/test.jsonl"
    path.write_text(path.read_text().replace('"score": -0.1', '"score": NaN'))
    ensemble.run("mbr")
    assert json.loads((project / "ensembles/mbr/info.json").read_text())["repaired_scores"] == 9


@pytest.mark.slow
def test_fifty_members_keep_few_files_open(tmp_path: Path) -> None:
    import resource

    dialogues = [Dialogue(fname=str(n), dialogue=f"#Person1#: {n}", summaries=("가 나 다",)) for n in range(3)]
    texts = {f"m{number}": ["가 나 다", f"가 나 {number}"] for number in range(50)}
    rows = [row_of(dialogue.fname, dialogue.dialogue, **texts) for dialogue in dialogues]
    for split in ("dev", "test"):
        write_jsonl(tmp_path / f"prepared/eval/{split}.jsonl", dialogues)
        write_members(tmp_path / "predictions", split, rows)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, limits[1]))
    try:
        choices = combined(tmp_path, Vote(type="vote"), members=tuple(texts))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert {choice.text for choice in choices["test"].values()} == {"가 나 다"}
    assert len(choices["test"]["0"].without) == 50


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    written = fill(tmp_path)
    files = {member: tmp_path / f"predictions/{member}/test.jsonl" for member in MEMBERS}
    assert list(read_rows(tmp_path / "prepared/eval/test.jsonl", files)) == written["test"]
