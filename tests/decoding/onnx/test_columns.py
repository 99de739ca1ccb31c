"""Texts find their own tokens in the columns of a cache that they share, and what none of them has is removed."""

from __future__ import annotations

import numpy as np
import pytest

from yoyak.decoding.onnx.columns import PERIOD, Columns
from yoyak.decoding.onnx.shared import move_columns

STEPS = 5 * PERIOD + 3


def write(seeds: list[int], texts: int) -> tuple[Columns, np.ndarray, list[list[list[int]]]]:
    """Write random texts; return the columns, a cache that holds their tokens, and the tokens of each text."""
    columns, random = Columns(len(seeds), texts), [np.random.default_rng(seed) for seed in seeds]
    cache = {"tokens": np.zeros((len(seeds), 1, 0, 1))}
    written: list[list[list[int]]] = [[[]] * texts for _ in seeds]
    for step in range(STEPS):
        # All texts continue the first token.
        parents = np.array([one.integers(0, texts if step > 1 else 1, texts) for one in random])
        tokens = np.array([one.integers(1, 1000, texts) for one in random])
        lengths = np.full(len(seeds), step)
        columns.follow(parents)
        move_columns(cache, columns.compact(lengths))
        if columns.reserve():
            cache["tokens"] = np.pad(
                cache["tokens"], ((0, 0), (0, 0), (0, columns.capacity - cache["tokens"].shape[2]), (0, 0))
            )
        indices = columns.append(lengths)
        for row in range(len(seeds)):
            cache["tokens"][row, 0, indices[row], 0] = tokens[row]
            written[row] = [
                [*written[row][parent], int(token)] for parent, token in zip(parents[row], tokens[row], strict=True)
            ]
    return columns, cache["tokens"][:, 0, :, 0], written


@pytest.mark.parametrize("texts", [1, 2, 5])
def test_each_text_has_its_own_tokens_in_their_order(texts: int) -> None:
    columns, cache, written = write([1, 2, 3], texts)
    for row in range(3):
        for text in range(texts):
            own = columns.bias[row, 0, text] == 0
            assert cache[row, own].tolist() == written[row][text]
            assert columns.lengths[row, own].tolist() == list(range(STEPS))


def test_columns_that_no_text_has_are_removed() -> None:
    columns, _, written = write([4], 4)
    used = len({tuple(text[: size + 1]) for text in written[0] for size in range(STEPS)})
    assert columns.written[0] <= used + 4 * PERIOD < 4 * STEPS


def test_the_columns_of_a_dialogue_do_not_depend_on_others() -> None:
    together, cache, _ = write([5, 6, 7], 3)
    for row, seed in enumerate([5, 6, 7]):
        alone, own_cache, _ = write([seed], 3)
        count = alone.written[0]
        assert together.written[row] == count
        assert np.array_equal(together.bias[row, ..., :count], alone.bias[0, ..., :count])
        assert np.array_equal(cache[row, :count], own_cache[0, :count])
