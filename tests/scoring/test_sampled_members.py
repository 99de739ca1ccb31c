"""Members that summarized only a sample: scored on it, compared on what both have, never chosen by it."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from yoyak.data.records import Dialogue
from yoyak.data.sampling import draw_sample
from yoyak.errors import UserError
from yoyak.params import Scoring
from yoyak.scoring.bootstrap import bootstrap_interval, paired_bootstrap
from yoyak.scoring.evaluation import Evaluation, evaluate_systems

SCORING = Scoring(granularities=["syllable"], bootstrap_samples=200)
ROWS = [
    Dialogue(
        fname=f"d{number}", dialogue=f"가: 이야기 {number}", summaries=(f"이야기 {number}번",), slice="ab"[number % 2]
    )
    for number in range(12)
]
SPLITS = {"dev": ROWS, "test": ROWS}


def texts(rows: list[Dialogue], text: str) -> dict[str, dict[str, str]]:
    answers = {row.fname: text.format(row.fname) for row in rows}
    return {"dev": answers, "test": answers}


def evaluate(sample: Collection[Dialogue], **others: Any) -> Evaluation:
    good = {split: {row.fname: row.summaries[0] for row in sample} for split in SPLITS}
    members = {"whole": texts(ROWS, "이야기 {}"), "good": good, **others}
    return evaluate_systems(SPLITS, members, SCORING, 20, sampled={"good"})


def primary(evaluation: Evaluation, system: str, slice: str = "all") -> Any:
    return next(
        (
            score.interval
            for score in evaluation.summary.scores
            if (score.system, score.part.split, score.part.slice, score.metric) == (system, "test", slice, "combined")
        ),
        None,
    )


def test_the_interval_is_that_of_the_sample() -> None:
    sample = draw_sample(ROWS, 5, 20)
    evaluation = evaluate(sample, worse={split: {**rows} for split, rows in texts(ROWS, "날씨 {}").items()})
    scores = evaluation.primary["whole"][12:]
    assert not np.isnan(scores).any()
    mine = evaluation.primary["good"][12:]
    known = ~np.isnan(mine)
    assert [row.fname for row, has in zip(ROWS, known, strict=True) if has] == [row.fname for row in sample]
    interval = bootstrap_interval(mine[known], samples=200, confidence=0.95, seed=20)
    assert primary(evaluation, "good").n == 5
    assert primary(evaluation, "good").low == pytest.approx(interval.low, abs=1e-6)
    assert primary(evaluation, "whole").n == 12
    [comparison] = [
        row
        for row in evaluation.summary.comparisons
        if {row.system, row.against} == {"good", "whole"} and row.part.label == "test" and row.metric == "combined"
    ]
    paired = paired_bootstrap(scores[known], mine[known], samples=200, confidence=0.95, seed=20)
    assert (comparison.system, comparison.gain.n) == ("whole", 5)
    assert comparison.gain.mean == pytest.approx(paired.difference, abs=1e-6)
    assert comparison.p_value == pytest.approx(paired.p_value, abs=1e-6)
    assert {row.system for row in evaluation.dialogues if row.fname not in {s.fname for s in sample}} >= {"whole"}
    assert sum(row.system == "good" for row in evaluation.dialogues) == 10


def test_a_better_sample_is_not_the_best_member() -> None:
    assert evaluate(ROWS[:4]).summary.best_member == "whole"
    assert evaluate(ROWS).summary.best_member == "good"
    good = {split: {row.fname: row.summaries[0] for row in ROWS[:4]} for split in SPLITS}
    assert evaluate_systems(SPLITS, {"good": good}, SCORING, 20, sampled={"good"}).summary.best_member == "good"


def test_a_slice_without_a_dialogue_of_the_sample_has_no_score() -> None:
    evaluation = evaluate([row for row in ROWS if row.slice == "a"][:3])
    assert primary(evaluation, "good", "a").n == 3
    assert primary(evaluation, "good", "b") is None
    assert primary(evaluation, "whole", "b").n == 6


def test_others_must_have_summarized_everything() -> None:
    with pytest.raises(UserError, match="Member 'lazy' has no prediction for dialogue 'd5'"):
        evaluate(ROWS[:4], lazy=texts(ROWS[:5], "이야기 {}"))
    with pytest.raises(UserError, match="Member 'good' has no prediction"):
        evaluate([])


def test_figures_of_whole_members_do_not_depend_on_a_sample() -> None:
    alone = evaluate_systems(SPLITS, {"whole": texts(ROWS, "이야기 {}")}, SCORING, 20)
    beside = evaluate(ROWS[:4])
    mine = [score for score in beside.summary.scores if score.system != "good"]
    assert mine == list(alone.summary.scores)


def test_a_larger_sample_contains_the_smaller_one() -> None:
    sizes = [{row.fname for row in draw_sample(ROWS, size, 20)} for size in range(1, 13)]
    assert all(smaller < larger for smaller, larger in pairwise(sizes))
    assert draw_sample(ROWS, 5, 20) != draw_sample(ROWS, 5, 21)
    assert draw_sample(ROWS, None, 20) == draw_sample(ROWS, 99, 20) == ROWS
    kept = {row.fname for row in draw_sample(ROWS[2:], 5, 20)}
    assert len(kept & {row.fname for row in draw_sample(ROWS, 5, 20)}) >= 3
