"""The order of batches, and the sample of dev rows that chooses a checkpoint."""

from __future__ import annotations

from training.tiny_training import ROWS
from yoyak.training.dataset import EpochLengthGroupedSampler, sample_rows


def test_batches_depend_on_seed_and_epoch_alone() -> None:
    import torch

    def order(epoch: int, seed: int = 1) -> list[int]:
        sampler = EpochLengthGroupedSampler(4, list(range(40)), seed)
        sampler.set_epoch(epoch)
        torch.rand(epoch + 3)
        return list(sampler)

    assert order(2) == order(2)
    assert order(2) != order(3)
    assert order(2) != order(2, seed=2)
    assert sorted(order(2)) == list(range(40))


def test_the_sample_depends_on_the_seed_and_not_on_the_order_of_the_rows() -> None:
    sample = sample_rows(ROWS, 8, seed=7)
    assert sample == sample_rows(ROWS[::-1], 8, seed=7)
    assert {row.fname for row in sample} != {row.fname for row in ROWS[:8]}
    assert sample != sample_rows(ROWS, 8, seed=8)
    assert len(sample_rows(ROWS, 1000, seed=7)) == len(ROWS)
