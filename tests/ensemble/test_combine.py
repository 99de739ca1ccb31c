"""Combiners: batches and processes do not change the result, and a saved combiner is loaded as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ensemble.ensemble_rows import keep_members, row_of
from yoyak.ensemble import combine as module
from yoyak.ensemble.combine import FILE, Combiner, combine, combine_all, combine_each, load, save
from yoyak.ensemble.fitting import fit
from yoyak.ensemble.pool import Row
from yoyak.errors import UserError
from yoyak.params.ensemble import Mbr, OfCandidates, Stack, Vote, VotePositional, Weighted

WORDS = list("가나다라마바사아자차")
STRATEGIES: list[OfCandidates] = [
    Vote(type="vote"),
    Vote(type="vote", weights="fit"),
    VotePositional(type="vote_positional"),
    Weighted(type="weighted"),
    Mbr(type="mbr", weights="dev"),
    Mbr(type="mbr", utility="mix", candidates=1, weights={"good": 2, "fair": 1, "bad": 1}),
    Stack(type="stack", folds=3, rankers=["ridge"]),
]
NAMES = ["vote", "vote fitted", "positional", "weighted", "mbr", "mbr mixed", "stack"]


def dev(count: int, seed: int = 1) -> tuple[list[Row], list[list[str]]]:
    """Rows of a good, a fair and a bad member, each with two candidates."""
    draw = np.random.default_rng(seed)
    rows, references = [], []
    for number in range(count):
        truth = draw.choice(WORDS, size=8)
        texts = {}
        for member, noise in {"good": 0.1, "fair": 0.4, "bad": 0.9}.items():
            nbest = [np.where(draw.random(8) < noise, draw.choice(WORDS, size=8), truth) for _ in range(2)]
            texts[member] = [" ".join(text) for text in nbest]
        rows.append(row_of(str(number), f"#Person1#: {number}", **texts))
        references.append([" ".join(truth)])
    return rows, references


def ready(strategy: OfCandidates, count: int = 24) -> Combiner:
    rows, references = dev(count)
    return fit(strategy, ["good", "fair", "bad"], rows, references, granularity="eojeol", seed=20).combiner


@pytest.mark.parametrize("strategy", STRATEGIES, ids=NAMES)
def test_batches_and_progress_bars_change_nothing(strategy: OfCandidates, monkeypatch: pytest.MonkeyPatch) -> None:
    combiner = ready(strategy)
    rows, _ = dev(25, seed=2)
    expected = [combine(combiner, [row])[0] for row in rows]
    assert combine(combiner, rows) == expected
    monkeypatch.setattr(module, "BATCH", 4)
    assert list(combine_all(combiner, rows, total=25)) == expected
    assert list(combine_all(combiner, [])) == []


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 3)
    combiners = [ready(strategy) for strategy in STRATEGIES]
    rows, _ = dev(40, seed=2)
    expected = list(combine_each(combiners, iter(rows), processes=1))
    assert list(combine_each(combiners, iter(rows), processes=2)) == expected
    for index, combiner in enumerate(combiners):
        assert [outcomes[index] for outcomes in expected] == combine(combiner, rows)


def test_rows_are_read_as_they_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    read: list[str] = []

    def stream() -> Iterator[Row]:
        for row in dev(10)[0]:
            read.append(row.fname)
            yield row

    outcomes = combine_all(ready(STRATEGIES[0]), stream())
    next(outcomes)
    assert read == ["0", "1"]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=NAMES)
def test_one_member_passes_through(strategy: OfCandidates, tmp_path: Path) -> None:
    rows, references = dev(5)
    single = keep_members(rows, ["fair"])
    fitted = fit(strategy, ["fair"], single, references, granularity="eojeol", seed=20)
    assert fitted.combiner.pass_through
    assert [outcome.text for outcome in fitted.outcomes] == [row.best("fair") for row in rows]
    assert {(outcome.member, outcome.rank, outcome.score) for outcome in fitted.outcomes} == {("fair", 0, 1.0)}
    save(fitted.combiner, tmp_path)
    assert load(tmp_path) == fitted.combiner
    assert not ready(strategy).pass_through


@pytest.mark.parametrize("strategy", STRATEGIES, ids=NAMES)
def test_a_saved_combiner_combines_the_same(strategy: OfCandidates, tmp_path: Path) -> None:
    combiner = ready(strategy)
    save(combiner, tmp_path)
    loaded = load(tmp_path)
    assert loaded == combiner
    assert list(loaded.weights) == ["good", "fair", "bad"]
    rows, _ = dev(12, seed=3)
    assert combine(loaded, rows) == combine(combiner, rows)
    assert json.loads((tmp_path / FILE).read_text())["granularity"] == "eojeol"


GOOD = {"strategy": {"type": "vote"}, "granularity": "eojeol", "weights": {"a": 0.5, "b": 0.5}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        json.dumps({**GOOD, "weights": None}),
        json.dumps({**GOOD, "weights": ["a", "b"]}),
        json.dumps({**GOOD, "weights": {}}),
        json.dumps({**GOOD, "weights": {"a": "half", "b": 0.5}}),
        json.dumps({**GOOD, "weights": {"a": float("nan"), "b": 0.5}}),
        json.dumps({**GOOD, "weights": {"a": 0, "b": 0}}),
        json.dumps({**GOOD, "strategy": {"type": "votes"}}),
        json.dumps({**GOOD, "strategy": {"type": "vote", "colour": 1}}),
        json.dumps({**GOOD, "strategy": "vote"}),
        json.dumps({"strategy": {"type": "vote"}, "weights": {"a": 1}}),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(json.dumps(GOOD))
    assert load(tmp_path).weights == {"a": 0.5, "b": 0.5}
    (tmp_path / FILE).write_text(text)
    with pytest.raises(UserError, match=r"combiner\.json"):
        load(tmp_path)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"combiner\.json"):
        load(tmp_path)


def test_only_named_members_take_part() -> None:
    rows, references = dev(24)
    for strategy in STRATEGIES[:5]:
        from_all = fit(strategy, ["fair", "bad"], rows, references, granularity="eojeol", seed=20)
        pair = keep_members(rows, ["fair", "bad"])
        from_pair = fit(strategy, ["fair", "bad"], pair, references, granularity="eojeol", seed=20)
        assert from_all == from_pair
        assert list(from_all.combiner.weights) == ["fair", "bad"]


def test_fifty_members() -> None:
    draw = np.random.default_rng(7)
    words = [f"말{number}" for number in range(100)]
    rows, references = [], []
    for number in range(6):
        truth = draw.choice(words, size=8)
        texts = {
            f"m{m}": [" ".join(np.where(draw.random(8) < 0.2, draw.choice(words, size=8), truth)) for _ in range(4)]
            for m in range(50)
        }
        rows.append(row_of(str(number), f"#Person1#: {number}", **texts))
        references.append([" ".join(truth)])
    members = list(rows[0].candidates)
    for strategy in (Vote(type="vote"), Weighted(type="weighted"), Mbr(type="mbr"), Stack(type="stack", folds=3)):
        fitted = fit(strategy, members, rows, references, granularity="eojeol", seed=20)
        assert [outcome.text for outcome in fitted.outcomes] == [reference for (reference,) in references], strategy
        assert len(fitted.combiner.weights) == 50


def test_two_members_that_write_the_same_text() -> None:
    rows = [row_of(str(number), f"#Person1#: {number}", a=["가 나", "다"], b=["가 나", "다"]) for number in range(4)]
    for strategy in (*STRATEGIES[:5], STRATEGIES[6]):
        fitted = fit(strategy, ["a", "b"], rows, [["가 나"]] * 4, granularity="eojeol", seed=20)
        assert [outcome.text for outcome in fitted.outcomes] == ["가 나"] * 4, strategy
