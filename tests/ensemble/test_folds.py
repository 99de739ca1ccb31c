"""Folds of dev: each row is held out once, and equal dialogues together."""

from __future__ import annotations

import pytest

from yoyak.ensemble.folds import make_folds


def test_every_row_is_held_out_once_and_equal_dialogues_share_a_fold() -> None:
    dialogues = [f"d{number % 7}" for number in range(40)]
    folds = make_folds(dialogues, 5)
    assert len(folds) == 5
    assert sorted(row for fold in folds for row in fold.held_out) == list(range(40))
    for fold in folds:
        assert sorted([*fold.held_out, *fold.fitted_to]) == list(range(40))
        assert not {dialogues[row] for row in fold.held_out} & {dialogues[row] for row in fold.fitted_to}


def test_there_are_no_more_folds_than_dialogues() -> None:
    assert len(make_folds(["a", "b", "c"], 5)) == 3


@pytest.mark.parametrize(("dialogues", "held_out"), [(["a", "a", "a"], [[0, 1, 2]]), (["a"], [[0]]), ([], [])])
def test_one_dialogue_leaves_nothing_to_fit(dialogues: list[str], held_out: list[list[int]]) -> None:
    folds = make_folds(dialogues, 5)
    assert [fold.held_out for fold in folds] == held_out
    assert all(fold.fitted_to == [] for fold in folds)
