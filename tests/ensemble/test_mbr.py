"""MBR: the choice of a naive loop over rouge_score, with weights, duplicates, ties and odd pools."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer
from sacrebleu.metrics import CHRF

from ensemble.ensemble_rows import equal, row_of
from yoyak.ensemble.mbr import mbr
from yoyak.ensemble.pool import Row
from yoyak.params.ensemble import Mbr
from yoyak.scoring.tokenize import tokenizer

ROUGE = Mbr(type="mbr")
SHARES = (0.33, 0.33, 0.34)
words = st.lists(st.sampled_from("가나다라마"), min_size=1, max_size=5).map(" ".join)
pools = st.dictionaries(st.sampled_from("abc"), st.lists(words, min_size=1, max_size=4), min_size=1)


def rouge_of(text: str, reference: str, granularity: str) -> float:
    scorer = rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=tokenizer(granularity))
    scores = scorer.score(reference, text)
    return sum(share * scores[kind].fmeasure for share, kind in zip(SHARES, scores, strict=True))


def chrf_of(text: str, reference: str) -> float:
    return float(CHRF().sentence_score(text, [reference]).score) / 100


def naive(row: Row, weights: dict[str, float], granularity: str, settings: Mbr) -> dict[str, float]:
    """The expected utility of each text: every candidate against every candidate, one by one."""
    pool = [
        (candidate.text, weight / len(row.candidates[member][: settings.candidates]))
        for member, weight in weights.items()
        for candidate in row.candidates[member][: settings.candidates]
    ]

    def utility(text: str, reference: str) -> float:
        if settings.utility == "chrf":
            return chrf_of(text, reference)
        rouge = rouge_of(text, reference, granularity)
        if settings.utility == "rouge":
            return rouge
        return settings.chrf_share * chrf_of(text, reference) + (1 - settings.chrf_share) * rouge

    total = sum(weight for _, weight in pool)
    return {
        text: sum(weight * utility(text, reference) for reference, weight in pool) / total
        for text in dict.fromkeys(text for text, _ in pool)
    }


@pytest.mark.parametrize(
    "strategy", [ROUGE, Mbr(type="mbr", utility="chrf"), Mbr(type="mbr", utility="mix", chrf_share=0.3)]
)
@given(pools, st.data())
@settings(max_examples=40)
def test_the_choice_equals_that_of_a_naive_loop(strategy: Mbr, pool: dict[str, list[str]], data: st.DataObject) -> None:
    weights = {member: data.draw(st.sampled_from([1.0, 2.0, 5.0])) for member in pool}
    row = row_of(**pool)
    outcome = mbr([row], weights, "eojeol", strategy)[0]
    expected = naive(row, weights, "eojeol", strategy)
    if len(expected) > 1:
        assert outcome.score == pytest.approx(max(expected.values()), abs=1e-8)
    assert expected[outcome.text] == pytest.approx(max(expected.values()), abs=1e-8)
    assert row.candidates[outcome.member][outcome.rank].text == outcome.text


def test_korean_morphemes_by_the_naive_loop() -> None:
    texts = {
        "a": ["#Person1#은 회의를 내일로 미룬다.", "#Person1#이 회의를 취소한다."],
        "b": ["#Person2#는 회의를 내일로 옮긴다.", "회의가 있다.", ""],
        "c": ["#Person1#은 회의를 모레로 미룬다."],
    }
    row, weights = row_of(**texts), {"a": 0.2, "b": 0.3, "c": 0.5}
    expected = naive(row, weights, "morpheme", ROUGE)
    # What is empty is never chosen and vouches for nobody: the others share its weight.
    nonempty = {text: value / 0.9 for text, value in expected.items() if text}
    outcome = mbr([row], weights, "morpheme", ROUGE)[0]
    assert outcome.text == max(nonempty, key=lambda text: nonempty[text])
    assert outcome.score == pytest.approx(max(nonempty.values()), abs=1e-9)


def test_copies_count_and_the_first_to_write_is_named() -> None:
    texts = {"a": ["가 나 다", "라 마 바"], "b": ["라 마 바", "사 아 자"], "c": ["차 카 타", "라 마 바"]}
    outcome = mbr([row_of(**texts)], equal(texts), "eojeol", ROUGE)[0]
    assert (outcome.text, outcome.member, outcome.rank) == ("라 마 바", "a", 1)
    assert outcome.score == pytest.approx(0.5)


def test_a_weight_decides_and_is_shared_by_its_candidates() -> None:
    texts = {"a": ["가 나"], "b": ["다 라"]}
    assert mbr([row_of(**texts)], {"a": 0.4, "b": 0.6}, "eojeol", ROUGE)[0].text == "다 라"
    louder = {"a": ["가 나"], "b": ["다 라", "마 바", "사 아"]}
    assert mbr([row_of(**louder)], {"a": 0.4, "b": 0.6}, "eojeol", ROUGE)[0].text == "가 나"
    silent = {"a": ["가 나"], "b": ["다 라"], "c": ["다 라"]}
    assert mbr([row_of(**silent)], {"a": 1.0, "b": 0.0, "c": 0.0}, "eojeol", ROUGE)[0].text == "가 나"


def test_ties_go_to_the_heavier_member_then_to_the_first_then_to_the_better_candidate() -> None:
    texts = {"a": ["가", "나"], "b": ["다", "라"]}
    outcome = mbr([row_of(**texts)], equal(texts), "eojeol", ROUGE)[0]
    assert (outcome.text, outcome.member, outcome.rank) == ("가", "a", 0)
    assert mbr([row_of(**texts)], equal("ba"), "eojeol", ROUGE)[0].text == "다"
    # b is as heavy for each candidate as a is, and heavier as a whole.
    uneven = {"a": ["가"], "b": ["다", "라"]}
    assert mbr([row_of(**uneven)], {"a": 1 / 3, "b": 2 / 3}, "eojeol", ROUGE)[0].text == "다"


def test_a_limit_keeps_the_best_candidates() -> None:
    texts = {"a": ["가 나", "라 마", "라 마 바"], "b": ["다 사", "라 마", "라 마 바"]}
    assert mbr([row_of(**texts)], equal(texts), "eojeol", ROUGE)[0].text == "라 마"
    first = mbr([row_of(**texts)], equal(texts), "eojeol", Mbr(type="mbr", candidates=1))[0]
    assert (first.text, first.score) == ("가 나", 0.5)
    assert mbr([row_of(**texts)], equal(texts), "eojeol", Mbr(type="mbr", candidates=9))[0].text == "라 마"


def test_one_candidate_and_only_empty_ones() -> None:
    outcome = mbr([row_of(a="가 나")], {"a": 1.0}, "eojeol", ROUGE)[0]
    assert (outcome.text, outcome.score, outcome.member, outcome.rank) == ("가 나", 1.0, "a", 0)
    assert mbr([row_of(a=["", ""], b="")], equal("ab"), "eojeol", ROUGE)[0].text == ""
    assert mbr([row_of(a="", b="가 나", c="")], equal("abc"), "eojeol", ROUGE)[0].text == "가 나"
    # Spaces are nothing too.
    assert mbr([row_of(a=" ", b="가 나", c=" ")], equal("abc"), "eojeol", ROUGE)[0].text == "가 나"
    marks = mbr([row_of(a="...", b="!")], equal("ab"), "eojeol", ROUGE)[0]
    assert (marks.text, marks.score) == ("...", 0.0)
    unweighted = mbr([row_of(a="", b="가 나", c="가 다")], {"a": 1.0, "b": 0.0, "c": 0.0}, "eojeol", ROUGE)[0]
    assert (unweighted.text, unweighted.score) == ("가 나", pytest.approx((1 + 0.33 * 0.5 + 0.34 * 0.5) / 2))
    assert mbr([row_of(a=" ", b="가 나")], {"a": 1.0, "b": 0.0}, "eojeol", ROUGE)[0].text == "가 나"


def test_fifty_members_of_four() -> None:
    draw = np.random.default_rng(3)
    members = {
        f"m{number}": [" ".join(draw.choice(list("가나다라마바사"), size=6)) for _ in range(4)] for number in range(50)
    }
    row = row_of(**members)
    outcome = mbr([row], equal(members), "eojeol", ROUGE)[0]
    texts = [text for nbest in members.values() for text in nbest]
    scores = {text: np.mean([rouge_of(text, ref, "eojeol") for ref in texts]) for text in (outcome.text, *texts[:10])}
    assert outcome.score == pytest.approx(scores[outcome.text], abs=1e-9)
    assert scores[outcome.text] == max(scores.values())


def test_rows_are_independent_of_each_other() -> None:
    rows = [row_of(a=["가 나", "다"], b="가 다"), row_of(a="", b=""), row_of(a="라", b="라")]
    together = mbr(rows, equal("ab"), "morpheme", ROUGE)
    assert together == [mbr([row], equal("ab"), "morpheme", ROUGE)[0] for row in rows]
