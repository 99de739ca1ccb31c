"""Models that tell which candidate of a dialogue is best, from its features: linear ones and trees.

All are fitted by scikit-learn and kept as plain numbers, so that a saved one is JSON and needs no scikit-learn. Their
scores compare the candidates of one dialogue and nothing else, since how hard a dialogue is does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Kind = Literal["ridge", "pairwise", "trees"]
ALPHAS = np.logspace(0, 4, 9)
"""Regularization strengths that a ridge regression tries."""
PAIRWISE_C = 0.01
"""Inverse regularization strength of the pairwise model."""
TREES, DEPTH, LEAF, RATE = 50, 3, 20, 0.1
"""Number of boosted trees, their depth, the candidates in a leaf, and the learning rate."""


@dataclass(frozen=True, slots=True)
class Linear:
    """A weighted sum of features."""

    coefficients: tuple[float, ...]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return [candidates]: their scores."""
        return values @ np.array(self.coefficients)


@dataclass(frozen=True, slots=True)
class Tree:
    """A regression tree as scikit-learn lays it out: node 0 is the root, and a leaf has the child -1."""

    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    value: tuple[float, ...]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return [candidates]: the values of their leaves."""
        feature, threshold = np.array(self.feature), np.array(self.threshold)
        left, right = np.array(self.left), np.array(self.right)
        nodes = np.zeros(len(values), int)
        rows = np.arange(len(values))
        while (inner := left[nodes] >= 0).any():
            below = values[rows, feature[nodes]] <= threshold[nodes]
            nodes = np.where(inner, np.where(below, left[nodes], right[nodes]), nodes)
        leaves: np.ndarray = np.array(self.value)[nodes]
        return leaves


@dataclass(frozen=True, slots=True)
class Trees:
    """Boosted trees."""

    trees: tuple[Tree, ...]

    def predict(self, values: np.ndarray) -> np.ndarray:
        """Return [candidates]: their scores."""
        # scikit-learn compares single precision with the thresholds.
        single = values.astype(np.float32)
        return np.sum([tree.predict(single) for tree in self.trees], axis=0)


Ranker = Linear | Trees


def fit_ranker(kind: Kind, values: np.ndarray, groups: np.ndarray, scores: np.ndarray, seed: int) -> Ranker:
    """Return a ranker fitted to the candidates' combined ROUGE.

    Args:
        values: [candidates, features]
        groups: [candidates]: numbers of their dialogues, 0 and up, in order.
        scores: [candidates]: 0 to 1.
    """
    if kind == "trees":
        return _fit_trees(values, groups, scores, seed)
    return _fit_ridge(values, groups, scores) if kind == "ridge" else _fit_pairwise(values, groups, scores)


def _fit_ridge(values: np.ndarray, groups: np.ndarray, scores: np.ndarray) -> Linear:
    """Return a regression of what a score is above the mean of its dialogue; leave-one-out error regularizes it."""
    from sklearn.linear_model import RidgeCV

    centred, scale = _standardise(values, groups)
    model = RidgeCV(alphas=ALPHAS, fit_intercept=False).fit(centred, _centre(scores, groups))
    return Linear(tuple((model.coef_ / scale).tolist()))


def _fit_pairwise(values: np.ndarray, groups: np.ndarray, scores: np.ndarray) -> Linear:
    """Return a logistic regression of which of two candidates is better: each against the best of its dialogue.

    A pair counts with the difference of its scores, so that near ties do not decide.
    """
    from sklearn.linear_model import LogisticRegression

    centred, scale = _standardise(values, groups)
    order = np.lexsort((-scores, groups))
    starts = np.searchsorted(groups[order], np.arange(groups.max() + 1))
    best = order[starts][groups]
    lost = scores[best] - scores
    worse = np.flatnonzero(lost > 0)
    if worse.size < 2:
        return Linear(tuple([0.0] * values.shape[1]))
    differences = centred[best[worse]] - centred[worse]
    # Every other pair is turned round, since a classifier needs both classes.
    signs = np.where(np.arange(worse.size) % 2, -1.0, 1.0)
    weights = lost[worse] / lost[worse].mean()
    model = LogisticRegression(C=PAIRWISE_C, fit_intercept=False, max_iter=1000)
    model.fit(differences * signs[:, None], signs > 0, sample_weight=weights)
    return Linear(tuple((model.coef_[0] / scale).tolist()))


def _fit_trees(values: np.ndarray, groups: np.ndarray, scores: np.ndarray, seed: int) -> Trees:
    """Return boosted trees, fitted to what a score is above the mean of its dialogue."""
    from sklearn.ensemble import GradientBoostingRegressor

    model = GradientBoostingRegressor(
        n_estimators=TREES,
        learning_rate=RATE,
        max_depth=DEPTH,
        min_samples_leaf=LEAF,
        subsample=0.5,
        max_features=0.3,
        init="zero",
        random_state=seed,
    ).fit(values, _centre(scores, groups))
    return Trees(tuple(_copy_tree(each.tree_) for each in model.estimators_[:, 0]))


def _copy_tree(tree: Any) -> Tree:
    return Tree(
        feature=tuple(np.maximum(tree.feature, 0).tolist()),
        threshold=tuple(tree.threshold.tolist()),
        left=tuple(tree.children_left.tolist()),
        right=tuple(tree.children_right.tolist()),
        value=tuple((RATE * tree.value[:, 0, 0]).tolist()),
    )


def _centre(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Return values minus the mean of their dialogue."""
    counts = np.maximum(1, np.bincount(groups))
    means = np.stack([np.bincount(groups, column) for column in np.atleast_2d(values.T)]) / counts
    centred: np.ndarray = values - (means.T if values.ndim > 1 else means[0])[groups]
    return centred


def _standardise(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the features minus the mean of their dialogue, of unit variance, and what they were divided by."""
    centred = _centre(values, groups)
    scale = centred.std(0)
    # A feature that hardly ever differs within a dialogue says nothing, and could be divided by next to nothing.
    scale = np.where(scale > 1e-6, scale, np.inf)
    return centred / scale, scale


def to_json(ranker: Ranker, names: Sequence[str]) -> dict[str, Any]:
    """Return a ranker as plain values."""
    if isinstance(ranker, Linear):
        return {"coefficients": dict(zip(names, ranker.coefficients, strict=True))}
    trees = [
        {name: list(getattr(tree, name)) for name in ("feature", "threshold", "left", "right", "value")}
        for tree in ranker.trees
    ]
    return {"features": list(names), "trees": trees}


def from_json(value: Mapping[str, Any], names: Sequence[str]) -> Ranker:
    """Read a ranker; ValueError, KeyError or TypeError where it is not one over these features."""
    if "coefficients" in value:
        if len(value["coefficients"]) != len(names):
            raise ValueError("there are other features")
        return Linear(tuple(_finite(value["coefficients"][name]) for name in names))
    if value["features"] != list(names) or not value["trees"]:
        raise ValueError("there are other features, or no trees")
    return Trees(tuple(_read_tree(tree, len(names)) for tree in value["trees"]))


def _read_tree(value: Mapping[str, Any], features: int) -> Tree:
    tree = Tree(
        feature=tuple(int(each) for each in value["feature"]),
        threshold=tuple(map(_finite, value["threshold"])),
        left=tuple(int(each) for each in value["left"]),
        right=tuple(int(each) for each in value["right"]),
        value=tuple(map(_finite, value["value"])),
    )
    count = len(tree.value)
    if not count or {len(tree.feature), len(tree.threshold), len(tree.left), len(tree.right)} != {count}:
        raise ValueError("a tree has parts of different lengths")
    for node, (feature, left, right) in enumerate(zip(tree.feature, tree.left, tree.right, strict=True)):
        # Children come after their parent, so that no walk goes round in circles.
        inner = node < left < count and node < right < count and 0 <= feature < features
        if not (inner or left == right == -1):
            raise ValueError("a tree has a node without its children")
    return tree


def _finite(value: Any) -> float:
    number = float(value)
    if not np.isfinite(number):
        raise ValueError(f"{value} is not a finite number")
    return number
