"""Splitting the tests between machines: `pytest --shard 2/4`, of which `make test SHARD=2 SHARDS=4` makes use.

A file is never split, since its tests share fixtures. Which shard it is in follows from the names and the numbers of
tests alone, so that machines that do not know of each other agree.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

import pytest

SLOW = 8
"""How many others a test counts for that is marked as slow."""


def choose_files(weights: Mapping[str, int], shard: int, shards: int) -> set[str]:
    """Return the files of a shard, counted from 1: each file, the heaviest first, goes to the lightest shard so far."""
    loads, chosen = [0] * shards, set()
    for file in sorted(weights, key=lambda name: (-weights[name], name)):
        lightest = loads.index(min(loads))
        loads[lightest] += weights[file]
        if lightest == shard - 1:
            chosen.add(file)
    return chosen


def parse_shard(text: str) -> tuple[int, int]:
    """Return the number of a shard and how many there are."""
    found = re.fullmatch(r"([1-9]\d{0,2})/([1-9]\d{0,2})", text)
    if not found or int(found[1]) > int(found[2]):
        raise pytest.UsageError(f"--shard is '{text}', but must be a number and how many there are, such as 2/4.")
    return int(found[1]), int(found[2])


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    parser.addoption("--shard", metavar="N/M", help="run the tests of shard N of M")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests of other shards."""
    text = config.getoption("--shard")
    if not text:
        return
    weights: Counter[str] = Counter()
    for item in items:
        weights[item.nodeid.partition("::")[0]] += SLOW if item.get_closest_marker("slow") else 1
    files = choose_files(weights, *parse_shard(text))
    chosen = [item for item in items if item.nodeid.partition("::")[0] in files]
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid.partition("::")[0] not in files])
    items[:] = chosen
