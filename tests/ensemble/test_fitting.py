"""Strategies that learn from dev: which weights they find, and that dev is combined by fits that have not seen it."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.ensemble_rows import row_of
from yoyak.ensemble.combine import Combiner, combine
from yoyak.ensemble.fitting import Fitted, fit
from yoyak.ensemble.folds import FOLDS, make_folds
from yoyak.ensemble.pool import Row
from yoyak.ensemble.target import score_texts
from yoyak.errors import UserError
from yoyak.params.ensemble import Mbr, OfCandidates, Stack, Vote, Weighted

WORDS = list("가나다라마바사아자차")
MEMBERS = ["good", "fair", "bad"]
LEARNING = [
    Vote(type="vote", weights="fit"),
    Weighted(type="weighted", weights="dev"),
    Mbr(type="mbr", weights="dev"),
    Stack(type="stack", folds=3, rankers=["ridge"]),
]
NAMES = ["vote, fit", "weighted, dev", "mbr, dev", "stack"]
References = list[list[str]]


def dev_rows(count: int, noise: dict[str, float] | None = None) -> tuple[list[Row], References]:
    """Return rows of members that replace a share of the reference's words, with two candidates each."""
    draw = np.random.default_rng(1)
    rows, references = [], []
    for number in range(count):
        truth = draw.choice(WORDS, size=8)
        texts = {}
        for member, share in (noise or {"good": 0.1, "fair": 0.4, "bad": 0.9}).items():
            nbest = [np.where(draw.random(8) < share, draw.choice(WORDS, size=8), truth) for _ in range(2)]
            texts[member] = [" ".join(text) for text in nbest]
        rows.append(row_of(str(number), f"#Person1#: {number}", **texts))
        references.append([" ".join(truth)])
    return rows, references


def fitted(strategy: OfCandidates, rows: list[Row], references: References, members: list[str] = MEMBERS) -> Fitted:
    return fit(strategy, members, rows, references, granularity="eojeol", seed=20)


def combiner(strategy: OfCandidates) -> Combiner:
    return fitted(strategy, *dev_rows(24)).combiner


def test_weights_of_each_kind() -> None:
    assert combiner(Vote(type="vote")).weights == pytest.approx({"good": 1 / 3, "fair": 1 / 3, "bad": 1 / 3})
    by_score = combiner(Weighted(type="weighted")).weights
    assert by_score["good"] > by_score["fair"] > by_score["bad"] > 0
    assert sum(by_score.values()) == pytest.approx(1)
    explicit = combiner(Vote(type="vote", weights={"bad": 6, "good": 3, "fair": 3}))
    assert list(explicit.weights.items()) == [("good", 0.25), ("fair", 0.25), ("bad", 0.5)]
    best = combiner(Vote(type="vote", weights="fit")).weights
    assert best["good"] > best["bad"]


def test_dev_weights_of_the_combiner_are_those_of_all_rows() -> None:
    rows, references = dev_rows(24)
    means = {m: score_texts([row.best(m) for row in rows], references, "eojeol").mean() for m in MEMBERS}
    expected = {member: mean / sum(means.values()) for member, mean in means.items()}
    assert fitted(Weighted(type="weighted"), rows, references).combiner.weights == pytest.approx(expected)


def test_a_missing_weight_is_an_error() -> None:
    with pytest.raises(UserError, match="'bad'"):
        combiner(Vote(type="vote", weights={"good": 1, "fair": 1}))


def test_the_member_with_all_the_weight_can_be_left_out() -> None:
    rows, references = dev_rows(6)
    strategy = Vote(type="vote", weights={"good": 1, "fair": 0, "bad": 0})
    without_it = fitted(strategy, rows, references, ["fair", "bad"])
    assert without_it.combiner.weights == {"fair": 0.5, "bad": 0.5}
    with pytest.raises(UserError, match="above 0"):
        fitted(strategy.model_copy(update={"members": ["fair", "bad"]}), rows, references, ["fair", "bad"])


@pytest.mark.parametrize("strategy", LEARNING, ids=NAMES)
def test_dev_is_combined_by_fits_that_have_not_seen_the_row(strategy: OfCandidates) -> None:
    rows, references = dev_rows(24)
    result = fitted(strategy, rows, references)
    assert result.cross_fitted
    folds = make_folds([row.dialogue for row in rows], strategy.folds if isinstance(strategy, Stack) else FOLDS)
    for fold in folds:
        seen = [rows[index] for index in fold.fitted_to]
        refitted = fitted(strategy, seen, [references[index] for index in fold.fitted_to])
        assert combine(refitted.combiner, [rows[index] for index in fold.held_out]) == [
            result.outcomes[index] for index in fold.held_out
        ]


@pytest.mark.parametrize("strategy", [Weighted(type="weighted"), Mbr(type="mbr", weights="dev")], ids=lambda s: s.type)
def test_a_member_that_is_perfect_on_one_dialogue_gets_no_weight_for_it_there(strategy: OfCandidates) -> None:
    """One member is right on the last dialogue only: weights that knew its reference would let it win there."""
    rows = [row_of(str(number), f"#Person1#: {number}", a="가 나 다 라 마 바 사", b="오 조") for number in range(4)]
    rows.append(row_of("last", "#Person1#: last", a="아 자 차", b="카 타 파"))
    references = [["가"]] * 4 + [["카 타 파"]]
    result = fitted(strategy, rows, references, ["a", "b"])
    assert result.combiner.weights["b"] > result.combiner.weights["a"]
    assert [outcome.text for outcome in combine(result.combiner, rows[-1:])] == ["카 타 파"]
    assert result.outcomes[-1].text == "아 자 차"


@pytest.mark.parametrize(
    "strategy",
    [Vote(type="vote"), Mbr(type="mbr"), Vote(type="vote", weights={"good": 2, "fair": 1, "bad": 1})],
    ids=["vote", "mbr", "given"],
)
def test_what_learns_nothing_from_dev_is_not_cross_fitted(strategy: OfCandidates) -> None:
    rows, references = dev_rows(12)
    result = fitted(strategy, rows, references)
    assert not result.cross_fitted
    assert result.outcomes == combine(result.combiner, rows)


def test_dev_of_one_dialogue_gives_equal_weights_where_nothing_can_be_learned() -> None:
    rows = [row_of(str(number), "#Person1#: 네", a="가 나", b="다 라") for number in range(3)]
    references = [["다 라"]] * 3
    result = fitted(Weighted(type="weighted"), rows, references, ["a", "b"])
    assert result.combiner.weights == {"a": 0.0, "b": 1.0}
    assert [outcome.text for outcome in result.outcomes] == ["가 나"] * 3
    for strategy in (Stack(type="stack"), Vote(type="vote", weights="fit")):
        with pytest.raises(UserError, match="two distinct dialogues"):
            fitted(strategy, rows, references, ["a", "b"])
