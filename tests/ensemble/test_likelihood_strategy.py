"""Consensus likelihood, and minimum Bayes risk that weighs candidates by it, computed naively."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.combine import Combiner, combine
from yoyak.ensemble.fitting import fit
from yoyak.ensemble.pool import Row, make_row
from yoyak.errors import UserError
from yoyak.params.ensemble import Auto, Likelihood, Mbr, OfCandidates, Option, Stack

MEMBERS = ["a", "b", "c"]
WORDS = list("가나다라마바사아자차")


def rows_of(count: int, seed: int, scorers: list[str] = MEMBERS) -> tuple[list[Row], list[list[str]]]:
    """Rows in which likelihood goes with what is right, and that of ``a`` most of all."""
    draw = np.random.default_rng(seed)
    rows, references = [], []
    for number in range(count):
        truth = draw.choice(WORDS, size=8)
        texts = {
            member: [" ".join(np.where(draw.random(8) < noise, draw.choice(WORDS, size=8), truth)) for _ in range(3)]
            for member, noise in {"a": 0.2, "b": 0.4, "c": 0.6}.items()
        }
        right = {
            text: sum(x == y for x, y in zip(text.split(), truth, strict=True))
            for nbest in texts.values()
            for text in nbest
        }
        likelihoods = {
            member: {text: share / 8 - 2 + noise * draw.normal() for text, share in right.items()}
            for member, noise in {"a": 0.05, "b": 0.2, "c": 0.4}.items()
            if member in scorers
        }
        candidates = {member: [Candidate(text, -0.5) for text in nbest] for member, nbest in texts.items()}
        rows.append(make_row(Dialogue(fname=str(number), dialogue=f"#Person1#: {number}"), candidates, likelihoods))
        references.append([" ".join(truth)])
    return rows, references


def consensus(row: Row, text: str, weights: Mapping[str, float], penalty: float) -> float:
    total = sum(weights[member] for member in row.likelihoods)
    mean = sum(weights[member] * row.likelihoods[member][text] for member in row.likelihoods) / total
    return mean * (len(text) + 1) ** (1 - penalty)


@pytest.mark.parametrize("penalty", [0.0, 1.0, 1.5])
def test_the_candidate_with_the_highest_mean_is_chosen(penalty: float) -> None:
    rows, _ = rows_of(20, seed=1, scorers=["a", "c"])
    weights = {"a": 0.5, "b": 0.3, "c": 0.2}
    strategy = Likelihood(type="likelihood", length_penalty=penalty)
    for row, outcome in zip(
        rows, combine(Combiner(strategy=strategy, granularity="eojeol", weights=weights), rows), strict=True
    ):
        texts = [candidate.text for nbest in row.candidates.values() for candidate in nbest]
        assert outcome.text == max(texts, key=lambda text: consensus(row, text, weights, penalty))
        assert outcome.score == pytest.approx(consensus(row, outcome.text, weights, penalty))
        assert row.candidates[outcome.member][outcome.rank].text == outcome.text


def test_minimum_bayes_risk_weighs_candidates_by_their_likelihood() -> None:
    rows, _ = rows_of(20, seed=2)
    weights = dict.fromkeys(MEMBERS, 1 / 3)
    strategy = Mbr(type="mbr", rouge_weights=(1, 0, 0), length_penalty=0.5)
    outcomes = combine(Combiner(strategy=strategy, granularity="eojeol", weights=weights), rows)
    for row, outcome in zip(rows, outcomes, strict=True):
        texts = list(dict.fromkeys(candidate.text for nbest in row.candidates.values() for candidate in nbest))
        shares = [math.exp(consensus(row, text, weights, 0.5)) for text in texts]

        def expected(text: str, texts: list[str] = texts, shares: list[float] = shares) -> float:
            return sum(share * unigram_f1(text, other) for other, share in zip(texts, shares, strict=True)) / sum(
                shares
            )

        assert outcome.score == pytest.approx(max(map(expected, texts)))
        assert expected(outcome.text) == pytest.approx(outcome.score)


def unigram_f1(one: str, other: str) -> float:
    a, b = one.split(), other.split()
    return 2 * sum(min(a.count(word), b.count(word)) for word in set(a)) / (len(a) + len(b))


def test_weights_are_fitted_to_who_knows() -> None:
    rows, references = rows_of(40, seed=3)
    strategy = Likelihood(type="likelihood", weights="fit")
    fitted = fit(strategy, MEMBERS, rows, references, granularity="eojeol", seed=20)
    assert fitted.cross_fitted
    # Those without a weight need not be asked.
    assert fitted.combiner.scorers == tuple(member for member in MEMBERS if fitted.combiner.weights[member])
    assert fitted.combiner.weights["a"] > fitted.combiner.weights["c"]


def test_the_stack_learns_from_likelihoods_and_only_where_it_may() -> None:
    rows, references = rows_of(60, seed=4)
    with_them, without = (
        fit(
            Stack(type="stack", rankers=["ridge"], likelihoods=use, unfamiliar="rerank"), MEMBERS, rows, references,
            granularity="eojeol", seed=20,
        )
        for use in (True, False)
    )  # fmt: skip
    assert with_them.combiner.scorers == ("a", "b", "c")
    assert without.combiner.scorers == ()
    test_rows, targets = rows_of(60, seed=5)

    def right(combiner: Combiner) -> float:
        return float(np.mean([
            sum(x == y for x, y in zip(outcome.text.split(), target[0].split(), strict=True)) / 8
            for outcome, target in zip(combine(combiner, test_rows), targets, strict=True)
        ]))  # fmt: skip

    assert right(with_them.combiner) > right(without.combiner)


def test_members_that_do_not_score_are_chosen_from_but_not_asked() -> None:
    rows, references = rows_of(12, seed=6, scorers=["a"])
    fitted = fit(Likelihood(type="likelihood"), MEMBERS, rows, references, granularity="eojeol", seed=20)
    assert fitted.combiner.scorers == ("a",)
    assert {outcome.member for outcome in combine(fitted.combiner, rows_of(60, 7, ["a"])[0])} > {"a"}


@pytest.mark.parametrize(
    "strategy", [Likelihood(type="likelihood"), Mbr(type="mbr", length_penalty=1.0)], ids=lambda s: s.type
)
def test_without_any_likelihood_there_is_an_error(strategy: OfCandidates) -> None:
    rows, references = rows_of(5, seed=8, scorers=[])
    with pytest.raises(UserError, match="score_candidates"):
        fit(strategy, MEMBERS, rows, references, granularity="eojeol", seed=20)


OPTIONS: dict[str, Option] = {
    "mbr": Mbr(type="mbr"),
    "likelihood": Likelihood(type="likelihood"),
    "likelihood_fit": Likelihood(type="likelihood", weights="fit"),
}


def test_auto_chooses_what_is_best_on_dev() -> None:
    rows, references = rows_of(40, seed=9)
    fitted = fit(Auto(type="auto", options=OPTIONS), MEMBERS, rows, references, granularity="eojeol", seed=20)
    choice = fitted.choice
    assert choice is not None
    assert set(choice.options) == {"a", "b", "c", *OPTIONS}
    assert choice.options[choice.chosen] == max(choice.options.values()) == choice.naive
    assert choice.chosen in ("likelihood", "likelihood_fit")
    assert fitted.combiner.strategy.type == "likelihood"
    assert choice.in_folds.count(choice.chosen) >= 3
    assert choice.flattery == pytest.approx(choice.naive - choice.nested)


def test_choosing_among_noise_flatters() -> None:
    """No option is better than another: the best of them on dev looks better than it is, on average."""
    flattery = []
    for seed in range(8):
        draw = np.random.default_rng(seed)
        rows, references = [], []
        for number in range(15):
            texts = {name: [Candidate(" ".join(draw.choice(WORDS, size=4)), -0.1)] for name in "abcdef"}
            rows.append(make_row(Dialogue(fname=str(number), dialogue=f"#Person1#: {number}"), texts))
            references.append([" ".join(draw.choice(WORDS, size=4))])
        strategy = Auto(type="auto", options={"mbr": Mbr(type="mbr")})
        choice = fit(strategy, list("abcdef"), rows, references, granularity="eojeol", seed=20).choice
        assert choice is not None
        flattery.append(choice.flattery)
    assert np.mean(flattery) > 0.01


def test_auto_goes_without_likelihoods_where_nobody_can_score() -> None:
    rows, references = rows_of(20, seed=10, scorers=[])
    fitted = fit(Auto(type="auto", options=OPTIONS), MEMBERS, rows, references, granularity="eojeol", seed=20)
    assert fitted.choice is not None
    assert set(fitted.choice.options) == {"a", "b", "c", "mbr"}


@pytest.mark.parametrize(
    "strategy",
    [
        Likelihood(type="likelihood", weights="fit"),
        Mbr(type="mbr", length_penalty=1.0, weights="fit"),
        Auto(type="auto"),
    ],
    ids=lambda s: s.type,
)
def test_weights_can_be_fitted_if_only_some_members_score(strategy: OfCandidates) -> None:
    rows, references = rows_of(15, seed=11, scorers=["b"])
    fitted = fit(strategy, MEMBERS, rows, references, granularity="eojeol", seed=20)
    if fitted.combiner.scorers:
        assert fitted.combiner.weights["b"] > 0
    assert len(combine(fitted.combiner, rows_of(5, 12, ["b"])[0])) == 5


def test_members_of_weight_0_are_not_asked() -> None:
    rows, references = rows_of(10, seed=13)
    strategy = Likelihood(type="likelihood", weights={"a": 2, "b": 0, "c": 1})
    fitted = fit(strategy, MEMBERS, rows, references, granularity="eojeol", seed=20)
    assert fitted.combiner.scorers == ("a", "c")
    without = [replace(row, likelihoods={name: row.likelihoods[name] for name in "ac"}) for row in rows]
    assert combine(fitted.combiner, without) == fitted.outcomes
