"""What a process that trains knows of those that train with it; one that trains alone is the first of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from typing import Any, TypeVar

import torch
from torch import distributed
from torch.utils.data import Sampler

from yoyak.models.text import IGNORED

TARGETS = "target_counts"
"""Key of a batch: how many targets the rows of this process have, and those of all processes."""

Value = TypeVar("Value")


def world_size() -> int:
    """Return how many processes train together."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def from_first(make: Callable[[], Value]) -> Value:
    """Return in every process what the first one makes."""
    if world_size() == 1:
        return make()
    made: list[Any] = [make() if rank() == 0 else None]
    distributed.broadcast_object_list(made)
    return made[0]


def from_all(value: Value) -> list[Value]:
    """Return the values of all processes, in order."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    distributed.all_gather_object(values, value)
    return values


def add_up(value: torch.Tensor) -> torch.Tensor:
    """Return the sum of a value over all processes."""
    total = value.detach().clone()
    if world_size() > 1:
        distributed.all_reduce(total)
    return total


class SameOrder(Sampler[int]):
    """The order that a sampler has in the first process, in all of them."""

    def __init__(self, sampler: Any) -> None:
        self.sampler: Sized = sampler

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[int]:
        return iter(from_first(lambda: list(self.sampler)))  # type: ignore[call-overload]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of a sampler that has one; the Trainer calls this at the start of each."""
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)


def collate_share(collate: Callable[[list[Any]], Any], rows: list[Any]) -> Any:
    """Return the padded share of this process in the rows of a batch, with the counts of `TARGETS`.

    A process without a row, in the last batch of an epoch, gets one that does not count: all must compute something.
    """
    own = rows[rank() :: world_size()]
    counts = [_count_targets(own), _count_targets(rows)]
    batch = collate(own or rows[:1])
    batch[TARGETS] = torch.tensor(counts)
    return batch


def _count_targets(rows: Sequence[Any]) -> int:
    return sum(label != IGNORED for row in rows for label in row["labels"])
