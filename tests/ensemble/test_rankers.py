"""Rankers predict what scikit-learn's models do, and a saved one predicts the same."""

from __future__ import annotations

import json

import numpy as np
import pytest

from yoyak.ensemble import rankers
from yoyak.ensemble.rankers import Kind, Linear, Trees, fit_ranker, from_json, to_json

KINDS: list[Kind] = ["ridge", "pairwise", "trees"]
NAMES = [f"feature {number}" for number in range(5)]


def candidates(rows: int = 60, seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six candidates of each dialogue: two features tell their scores, one its difficulty, and one never differs."""
    draw = np.random.default_rng(seed)
    groups = np.repeat(np.arange(rows), 6)
    values = draw.normal(size=(len(groups), 5))
    values[:, 3] = groups
    values[:, 4] = 7
    scores = 0.5 + 0.1 * values[:, 0] - 0.2 * values[:, 1] + 0.01 * draw.normal(size=len(groups)) + groups / rows
    return values, groups, scores


@pytest.mark.parametrize("kind", KINDS)
def test_the_best_candidate_is_found(kind: Kind) -> None:
    ranker = fit_ranker(kind, *candidates(), 20)
    values, groups, scores = candidates(40, seed=2)
    predicted = ranker.predict(values)
    best = [np.argmax(predicted[groups == row]) == np.argmax(scores[groups == row]) for row in range(40)]
    assert np.mean(best) > 0.6


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_ranker_predicts_the_same(kind: Kind) -> None:
    ranker = fit_ranker(kind, *candidates(), 20)
    saved = json.loads(json.dumps(to_json(ranker, NAMES)))
    assert from_json(saved, NAMES) == ranker
    with pytest.raises((ValueError, KeyError)):
        from_json(saved, [*NAMES[:-1], "another"])


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_rows_give_the_same_ranker(kind: Kind) -> None:
    assert fit_ranker(kind, *candidates(), 20) == fit_ranker(kind, *candidates(), 20)


def test_trees_predict_what_scikit_learn_predicts() -> None:
    from sklearn.ensemble import GradientBoostingRegressor

    values, groups, scores = candidates()
    trees = fit_ranker("trees", values, groups, scores, 20)
    centred = scores - np.repeat(scores.reshape(-1, 6).mean(1), 6)
    expected = GradientBoostingRegressor(
        n_estimators=rankers.TREES, learning_rate=rankers.RATE, max_depth=rankers.DEPTH, min_samples_leaf=rankers.LEAF,
        subsample=0.5, max_features=0.3, init="zero", random_state=20,
    ).fit(values, centred)  # fmt: skip
    assert isinstance(trees, Trees)
    np.testing.assert_allclose(trees.predict(values), expected.predict(values), atol=1e-12)


def test_ridge_is_that_of_centred_features_and_scores() -> None:
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    values, groups, scores = candidates()
    values = values[:, :3]
    by_row = values.reshape(-1, 6, 3)
    centred = StandardScaler().fit_transform((by_row - by_row.mean(1, keepdims=True)).reshape(-1, 3))
    targets = (scores.reshape(-1, 6) - scores.reshape(-1, 6).mean(1, keepdims=True)).ravel()
    expected = RidgeCV(alphas=rankers.ALPHAS, fit_intercept=False).fit(centred, targets).predict(centred)
    ranker = fit_ranker("ridge", values, groups, scores, 20)
    predicted = ranker.predict(values).reshape(-1, 6)
    np.testing.assert_allclose((predicted - predicted.mean(1, keepdims=True)).ravel(), expected, atol=1e-9)


def test_nothing_to_learn_is_no_ranking() -> None:
    values, groups, _ = candidates(5)
    for kind in KINDS:
        predicted = fit_ranker(kind, values, groups, np.full(len(groups), 0.5), 20).predict(values)
        np.testing.assert_allclose(predicted, 0, atol=1e-12)
    assert isinstance(fit_ranker("pairwise", values, groups, np.full(len(groups), 0.5), 20), Linear)
