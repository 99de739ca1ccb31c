"""The analysis of ensembles, compared with figures counted by hand or by the plain functions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.analysis import analyse
from yoyak.ensemble.splits import Choice
from yoyak.params import Scoring
from yoyak.params.ensemble import Mbr, Soup, Vote
from yoyak.scoring.ensembles import (
    Agreement,
    Contribution,
    EnsembleAnalysis,
    StrategyInfo,
    read_analysis,
    write_analysis,
)
from yoyak.scoring.evaluation import Evaluation, evaluate_systems
from yoyak.scoring.rouge import rouge

SCORING = Scoring(granularities=["eojeol", "syllable"], bootstrap_samples=300)
SENTENCE = "저녁에 영화를 보고 극장 앞에서 만나 표를 예매하고 일곱 시에 친구와 커피를 마신다"
WORDS = SENTENCE.split()


def corpus() -> dict[str, list[Dialogue]]:
    generator = np.random.default_rng(1)

    def rows(split: str, count: int) -> list[Dialogue]:
        return [
            Dialogue(
                fname=f"{split}_{number}",
                dialogue="\n".join(f"#Person1#: {word}" for word in WORDS[: 2 + number % 6]),
                summaries=tuple(" ".join(generator.choice(WORDS, 6, replace=False)) for _ in range(2)),
                slice=("seen", "unseen")[number % 2] if split == "test" else "",
            )
            for number in range(count)
        ]

    return {"dev": rows("dev", 16), "test": rows("test", 20)}


SPLITS = corpus()
Texts = dict[str, dict[str, dict[str, list[str]]]]


def spoiled(row: Dialogue, words: int) -> str:
    """Return the first reference with its last words lost."""
    return " ".join(row.summaries[0].split()[: 6 - words])


def pool(*losses: int) -> dict[str, dict[str, list[str]]]:
    """Return candidates that have lost so many words, best of the member first."""
    return {
        split: {row.fname: [spoiled(row, loss) for loss in losses] for row in rows} for split, rows in SPLITS.items()
    }


def chosen(text: dict, member: str, without: dict[str, dict] | None = None) -> dict[str, dict[str, Choice]]:
    """Return the choices of a strategy that takes the first candidates of ``text`` everywhere."""
    return {
        split: {
            fname: Choice(
                text=nbest[0],
                member=member,
                rank=0,
                without={excluded: texts[split][fname][0] for excluded, texts in (without or {}).items()},
            )
            for fname, nbest in rows.items()
        }
        for split, rows in text.items()
    }


def run(members: Texts, choices: dict, strategies: dict) -> tuple[EnsembleAnalysis, Evaluation]:
    predictions = {
        name: {split: {fname: nbest[0] for fname, nbest in rows.items()} for split, rows in parts.items()}
        for name, parts in members.items()
    }
    ensembles = {
        name: {split: {fname: choice.text for fname, choice in rows.items()} for split, rows in parts.items()}
        for name, parts in choices.items()
    }
    candidates = {
        name: {
            split: {fname: [Candidate(text, -1.0) for text in nbest] for fname, nbest in rows.items()}
            for split, rows in parts.items()
        }
        for name, parts in members.items()
    }
    evaluation = evaluate_systems(SPLITS, predictions, SCORING, 20, ensembles)
    return analyse(SPLITS, evaluation, strategies, candidates, choices, SCORING, 20), evaluation


def scores(texts: dict[str, list[str]], rows: list[Dialogue], index: int = 0) -> np.ndarray:
    by_metric = rouge(
        [texts[row.fname][index] for row in rows],
        [row.summaries for row in rows],
        granularity="eojeol",
        multi_reference="mean",
        weights=SCORING.weights,
    )
    return by_metric["combined"]


MEMBERS: Texts = {"poor": pool(4, 3), "good": pool(2, 1), "fair": pool(3, 2)}


@pytest.fixture(scope="module")
def evaluated() -> tuple[EnsembleAnalysis, Evaluation]:
    better, same = pool(1), MEMBERS["good"]
    return run(
        MEMBERS,
        {
            "vote": chosen(better, "", {"poor": better, "good": MEMBERS["fair"], "fair": same}),
            "mbr": chosen(same, "good", {"poor": same, "good": MEMBERS["fair"], "fair": same}),
            "soup": chosen(MEMBERS["fair"], ""),
        },
        {"vote": Vote(type="vote"), "mbr": Mbr(type="mbr"), "soup": Soup(type="soup", members=["fair", "good"])},
    )


def test_gain_contributions_and_shares_are_differences_of_plain_scores(
    evaluated: tuple[EnsembleAnalysis, Evaluation],
) -> None:
    analysis, _ = evaluated
    assert (analysis.best_member, analysis.best_ensemble) == ("good", "vote")
    assert analysis.members == ("good", "fair", "poor")
    assert list(analysis.strategies) == ["vote", "mbr", "soup"]
    for part, rows in (
        ("all", SPLITS["test"]),
        ("seen", [row for row in SPLITS["test"] if row.slice == "seen"]),
        ("unseen", [row for row in SPLITS["test"] if row.slice == "unseen"]),
    ):
        test = analysis.splits["test"][part]
        good, fair = (scores(MEMBERS[name]["test"], rows).mean() for name in ("good", "fair"))
        better = scores(pool(1)["test"], rows).mean()
        vote, mbr, soup = (test.strategies[name] for name in ("vote", "mbr", "soup"))
        assert test.n == len(rows)
        assert test.best_member.mean == pytest.approx(good, abs=1e-6)
        assert vote.score.mean == pytest.approx(better, abs=1e-6)
        assert vote.gain.difference == pytest.approx(better - good, abs=2e-6)
        assert vote.gain.low > 0 and vote.gain.p_value < 0.05
        changes = {member: entry.change.difference for member, entry in vote.contributions.items() if entry.change}
        assert changes == pytest.approx({"good": better - fair, "fair": better - good, "poor": 0}, abs=2e-6)
        assert (vote.of_several, vote.contributions["good"].share) == (1, 0)
        assert (mbr.of_several, mbr.contributions["good"].share) == (0, 1)
        assert (mbr.gain.difference, mbr.gain.low, mbr.gain.high, mbr.gain.p_value) == (0, 0, 0, 1)
        assert {member: entry.change for member, entry in soup.contributions.items()} == {
            "fair": None,
            "good": None,
        }


def test_the_oracle_is_the_best_candidate_of_each_dialogue(evaluated: tuple[EnsembleAnalysis, Evaluation]) -> None:
    test = evaluated[0].splits["test"]["all"]
    every = [scores(MEMBERS[name]["test"], SPLITS["test"], index) for name in MEMBERS for index in (0, 1)]
    oracle = np.max(every, axis=0).mean()
    good, better = (
        scores(MEMBERS["good"]["test"], SPLITS["test"]).mean(),
        scores(pool(1)["test"], SPLITS["test"]).mean(),
    )
    assert test.oracle.mean == pytest.approx(oracle, abs=1e-6)
    assert test.headroom == pytest.approx(oracle - good, abs=1e-6)
    assert test.strategies["vote"].captured == pytest.approx((better - good) / (oracle - good), abs=1e-4)


def test_agreement_is_the_rouge_between_members(evaluated: tuple[EnsembleAnalysis, Evaluation]) -> None:
    agreement = evaluated[0].splits["test"]["all"].agreement
    matrix = np.array(agreement.rouge)
    good, poor = ([MEMBERS[name]["test"][row.fname][0] for row in SPLITS["test"]] for name in ("good", "poor"))
    expected = rouge(
        good, [[text] for text in poor], granularity="eojeol", multi_reference="mean", weights=SCORING.weights
    )["combined"].mean()
    assert matrix[0, 2] == pytest.approx(expected, abs=1e-6)
    assert (matrix == matrix.T).all() and (np.diag(matrix) == 1).all()
    assert agreement.same == tuple(map(tuple, np.eye(3).tolist()))


def test_gain_by_length_adds_up_to_the_gain(evaluated: tuple[EnsembleAnalysis, Evaluation]) -> None:
    test = evaluated[0].splits["test"]["all"]
    bins = test.lengths.bins
    assert test.lengths.by == "turns"
    assert sum(group.n for group in bins) == 20
    for name, strategy in test.strategies.items():
        total = sum(group.n * group.gains[name].difference for group in bins) / 20
        assert total == pytest.approx(strategy.gain.difference, abs=1e-5)


def test_the_conclusion_names_the_choice_on_dev_and_its_gain_on_test(
    evaluated: tuple[EnsembleAnalysis, Evaluation],
) -> None:
    analysis, evaluation = evaluated
    test = analysis.splits["test"]["all"]
    gain = test.strategies["vote"].gain
    for words in ("vote is the best of 3", f"better than good by {gain.difference:.3f}", f"{test.headroom:.3f} above"):
        assert words in analysis.conclusion
    assert evaluation.summary.best_ensemble == "vote"


def test_headline_metrics_are_gains_and_the_oracle(evaluated: tuple[EnsembleAnalysis, Evaluation]) -> None:
    analysis, _ = evaluated
    metrics = analysis.headline_metrics()
    gain = analysis.splits["test"]["all"].strategies["vote"].gain
    assert metrics["ensemble/vote/test/gain"] == gain.difference
    assert metrics["ensemble/vote/test/p_value"] == gain.p_value
    assert metrics["ensemble/oracle/dev/combined"] == analysis.splits["dev"]["all"].oracle.mean


def test_what_is_written_is_read(evaluated: tuple[EnsembleAnalysis, Evaluation], tmp_path: Path) -> None:
    write_analysis(evaluated[0], tmp_path)
    assert read_analysis(tmp_path) == evaluated[0]


def test_the_conclusion_says_when_nothing_is_gained() -> None:
    mbr = {"mbr": Mbr(type="mbr")}
    same = run(MEMBERS, {"mbr": chosen(MEMBERS["good"], "good")}, mbr)[0]
    assert "p = 1.000" in same.conclusion
    assert "no significant difference" in same.conclusion
    worse = run(MEMBERS, {"mbr": chosen(MEMBERS["poor"], "poor")}, mbr)[0]
    assert "worse than good by 0." in worse.conclusion
    captured = worse.splits["test"]["all"].strategies["mbr"].captured
    assert captured is not None and captured < 0


def test_members_that_write_the_same_agree_even_where_they_write_nothing() -> None:
    empty = pool(6)
    analysis, _ = run({"a": empty, "b": empty}, {"vote": chosen(empty, "")}, {"vote": Vote(type="vote")})
    test = analysis.splits["test"]["all"]
    assert test.agreement == Agreement(rouge=((1, 1), (1, 1)), same=((1, 1), (1, 1)))
    assert (test.headroom, test.strategies["vote"].captured) == (0, None)


def test_one_member_is_passed_through_and_marked() -> None:
    analysis, _ = run({"a": pool(2, 1)}, {"mbr": chosen(pool(2), "a")}, {"mbr": Mbr(type="mbr")})
    assert analysis.strategies == {"mbr": StrategyInfo(type="mbr", members=("a",), pass_through=True)}
    assert "nothing is combined" in analysis.conclusion
    test = analysis.splits["test"]["all"]
    assert test.strategies["mbr"].contributions == {"a": Contribution(change=None, share=1)}
    assert test.headroom > 0


def test_without_ensembles_there_is_still_the_oracle() -> None:
    analysis, _ = run({"a": pool(2, 1), "b": pool(3)}, {}, {})
    assert (analysis.strategies, analysis.best_ensemble) == ({}, None)
    assert "no ensemble" in analysis.conclusion
    assert analysis.splits["dev"]["all"].strategies == {}
    assert analysis.splits["dev"]["all"].lengths.bins[0].gains == {}


def test_fifty_members() -> None:
    members = {f"m{number:02}": pool(number % 4 + 1, number % 3) for number in range(50)}
    without = dict.fromkeys(members, members["m00"])
    analysis, _ = run(members, {"mbr": chosen(members["m00"], "m00", without)}, {"mbr": Mbr(type="mbr")})
    test = analysis.splits["test"]["all"]
    assert len(test.strategies["mbr"].contributions) == 50
    assert np.shape(test.agreement.rouge) == (50, 50)
    assert analysis.members[0] == "m00"
