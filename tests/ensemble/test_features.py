"""Features of candidates: they depend on a row alone, and say what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from ensemble.ensemble_rows import row_of
from yoyak.data.records import Dialogue
from yoyak.decoding.candidates import Candidate
from yoyak.ensemble.features import FEATURES, describe, feature_names, select_rows
from yoyak.ensemble.pool import make_row

DIALOGUE = "#Person1#: 지훈 씨, 3시 30분에 회의실에서 만나요.\n#Person2#: 네, #PhoneNumber#로 연락할게요."


def named(values: np.ndarray, name: str) -> float:
    return float(values[FEATURES.index(name)])


def test_features_of_a_row_depend_on_that_row_alone() -> None:
    rows = [
        row_of("a", DIALOGUE, x=["지훈이 3시에 만난다.", "만난다."], y="#Person1#은 만난다."),
        row_of("b", "#Person1#: 네.", x=["다른 요약이다.", ""], y="요약."),
        row_of("c", DIALOGUE, x=["", ""], y=""),
    ]
    together = describe(rows, ["x", "y"], "morpheme")
    assert together.origins == [(index, *own) for index in range(3) for own in [("x", 0), ("x", 1), ("y", 0)]]
    for index, row in enumerate(rows):
        alone = describe([row], ["x", "y"], "morpheme").values
        np.testing.assert_array_equal(together.values[3 * index : 3 * index + 3], alone)
    assert np.isfinite(together.values).all()


def test_features_by_hand() -> None:
    candidates = {
        "x": [Candidate("지훈은 3시 30분에 회의실에서 만난다.", -0.1), Candidate("#Person3#은 5시에 만난다.", -0.5, 1)],
        "y": [Candidate("지훈은 3시 30분에 회의실에서 만난다.", -0.3)],
    }
    row = make_row(Dialogue(fname="a", dialogue=DIALOGUE), candidates)
    first, second, third = describe([row], ["x", "y"], "morpheme").values
    assert [named(first, name) for name in ("score", "rank", "first", "changed_input")] == [-0.1, 0, 1, 0]
    assert [named(second, name) for name in ("score", "rank", "first", "changed_input")] == [-0.5, 1, 0, 1]
    assert [named(first, "score_in_member"), named(second, "score_in_member")] == pytest.approx([1, -1])
    assert named(third, "score_in_member") == 0
    assert [named(features, "copies") for features in (first, second, third)] == [1, 0, 1]
    assert named(first, "agreement_of_firsts") == pytest.approx(1)
    assert named(first, "agreement") > named(second, "agreement")
    assert [named(features, "numbers_from_dialogue") for features in (first, second)] == [1, 0]
    assert [named(features, "numbers_kept") for features in (first, second)] == [1, 0]
    assert [named(features, "masks_made_up") for features in (first, second)] == [0, 1]
    assert [named(features, "names_kept") for features in (first, second)] == [1, 0]
    assert list(first[len(FEATURES) : len(FEATURES) + 2]) == [1, 0]
    assert list(third[len(FEATURES) : len(FEATURES) + 2]) == [0, 1]


def test_agreement_of_firsts_excludes_the_member_itself() -> None:
    row = row_of(x=["가 나 다 라", "마"], y="가 나", z="바")
    values = describe([row], ["x", "y", "z"], "eojeol").values
    # ROUGE-1 and -L of x with y: 2 of 4 and 2 of 2; ROUGE-2: 1 of 3 and 1 of 1. With z nothing.
    by_hand = (0.33 * 2 / 3 + 0.33 * 1 / 2 + 0.34 * 2 / 3) / 2
    assert [named(features, "agreement_of_firsts") for features in values] == pytest.approx([by_hand, 0, by_hand, 0])


def test_a_part_has_the_renumbered_candidates_of_its_rows() -> None:
    rows = [row_of(str(number), x=[f"가{number}", f"나{number}"], y=f"다{number}") for number in range(4)]
    described = describe(rows, ["x", "y"], "syllable")
    part, kept = select_rows(described, [3, 1])
    assert kept.tolist() == [3, 4, 5, 9, 10, 11]
    assert [origin[0] for origin in part.origins] == [1, 1, 1, 0, 0, 0]
    np.testing.assert_array_equal(part.values, described.values[kept])


def test_likelihoods_are_compared_with_the_likeliest() -> None:
    candidates = {"x": [Candidate("가", -0.1), Candidate("나", -0.2)], "y": [Candidate("다", -0.3)]}
    likelihoods = {"x": {"가": -1.0, "나": -2.0, "다": -4.0}, "y": {"가": -3.0, "나": -1.0, "다": -1.5}}
    row = make_row(Dialogue(fname="a", dialogue=DIALOGUE), candidates, likelihoods)
    names = feature_names(["x", "y"], ["x", "y"])
    values = dict(zip(names, describe([row], ["x", "y"], "syllable", ["x", "y"]).values.T.tolist(), strict=True))
    assert values["likelihood of x"] == [-1, -2, -4]
    assert values["likelihood of x, to the highest"] == [0, -1, -3]
    assert values["likelihood of y, to the highest"] == [-2, 0, -0.5]
    assert values["likelihood"] == [-2, -1.5, -2.75]
    assert values["likelihood, to the highest"] == [-0.5, 0, -1.25]
    assert values["similarity to x"] == pytest.approx([0.67, 0, 0])  # One token has no bigram.
    alone = describe([row], ["x", "y"], "syllable")
    assert alone.values.shape == (3, len(feature_names(["x", "y"], [])))


def test_what_is_made_up_counts_as_it_is_meant() -> None:
    row = row_of("a", DIALOGUE, x=["3시 반에 만난다.", "5시에 수미와 만난다."], y="세 시 삼십 분에 만난다.")
    values = describe([row], ["x", "y"], "syllable").values
    assert [named(features, "numbers_made_up") for features in values] == [0, 1, 0]
    assert [named(features, "names_made_up") for features in values] == [0, 1, 0]
