"""The sample corpus: Korean everyday dialogues with summaries, generated from a seed.

`generate` streams rows, `write_corpus` writes the project's data folder, `write_samples` one CSV of any size. The same
seed gives the same rows on every machine. A dialogue's split is derived from its text, so no dialogue can be in two
splits, whatever the seeds.
"""

from __future__ import annotations

import csv
import hashlib
import os
import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal, TextIO, get_args

from tqdm import tqdm

from yoyak.data.records import Dialogue
from yoyak.data.samples import topics_health, topics_home, topics_money, topics_shop, topics_travel, topics_work
from yoyak.data.samples.compose import Sample, compose
from yoyak.data.samples.scenario import REFERENCES, Scenario, parse_scenarios
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path

SplitName = Literal["train", "dev", "test"]

_BUCKETS: dict[str, range] = {"train": range(8), "dev": range(8, 12), "test": range(12, 16)}
"""A dialogue belongs to the split whose range contains the first four bits of its digest."""
_UNSEEN_PER_TEN = 3
_WORDING_WEIGHTS = (80, 10, 10)
_MODULES = (topics_home, topics_shop, topics_money, topics_health, topics_travel, topics_work)


@cache
def scenarios() -> tuple[Scenario, ...]:
    """Return the scenarios of all topics."""
    return tuple(scenario for module in _MODULES for scenario in parse_scenarios(module.SCENARIOS))


def stream_samples(n: int, seed: int, *, split: SplitName) -> Iterator[Sample]:
    """Stream ``n`` distinct samples of a split; a larger ``n`` only appends samples.

    Three of every ten test samples are of unseen scenarios, evenly spread. Memory grows by one digest per row.

    Raises UserError for an unknown split or a negative ``n``.
    """
    if split not in _BUCKETS:
        raise UserError(f"'{split}' is not a split of the sample corpus{nearest(split, get_args(SplitName))}.")
    if n < 0:
        raise UserError(f"The number of samples is {n}, but it must be 0 or more.")
    return _draw_samples(n, seed, split)


def _draw_samples(n: int, seed: int, split: SplitName) -> Iterator[Sample]:
    rng = random.Random(f"yoyak samples {seed} {split}")
    decks = {unseen: _draw_scenarios(unseen, rng) for unseen in (False, True)}
    seen: set[bytes] = set()
    for row in range(n):
        is_unseen = split == "test" and (row + 1) * _UNSEEN_PER_TEN // 10 > row * _UNSEEN_PER_TEN // 10
        scenario = next(decks[is_unseen])
        while True:
            sample = compose(scenario, rng)
            digest = hashlib.blake2b(sample.dialogue.encode(), digest_size=8).digest()
            if digest[0] >> 4 in _BUCKETS[split] and digest not in seen:
                break
        seen.add(digest)
        yield sample


def _draw_scenarios(unseen: bool, rng: random.Random) -> Iterator[Scenario]:
    """Yield scenarios endlessly, each once before any repeats, so that even a small corpus has all of them."""
    deck = [scenario for scenario in scenarios() if scenario.unseen == unseen]
    while True:
        rng.shuffle(deck)
        yield from deck


def generate(n: int, seed: int, *, split: SplitName) -> Iterator[Dialogue]:
    """Stream ``n`` distinct rows of a split, the same for the same ``seed``; a larger ``n`` only appends rows.

    Rows of train and dev have one summary. Rows of test have three, and a slice: ``seen`` if the scenario also
    occurs in train and dev, else ``unseen``.

    Raises UserError for an unknown split or a negative ``n``.
    """
    wording = random.Random(f"yoyak wordings {seed} {split}")
    return (
        _to_row(number, sample, split, wording) for number, sample in enumerate(stream_samples(n, seed, split=split))
    )


def _to_row(number: int, sample: Sample, split: SplitName, wording: random.Random) -> Dialogue:
    is_test = split == "test"
    return Dialogue(
        fname=f"{split}_{number}",
        dialogue=sample.dialogue,
        summaries=sample.references if is_test else tuple(wording.choices(sample.references, _WORDING_WEIGHTS)),
        topic=sample.scenario.topic,
        slice=("unseen" if sample.scenario.unseen else "seen") if is_test else "",
    )


def _write_rows(out: TextIO, rows: Iterable[Dialogue], split: SplitName) -> None:
    writer = csv.writer(out, lineterminator="\n")
    if split == "test":
        names = [f"summary{number}" for number in range(1, REFERENCES + 1)]
        writer.writerow(["fname", "dialogue", *names, "topic", "slice"])
        writer.writerows([row.fname, row.dialogue, *row.summaries, row.topic, row.slice] for row in rows)
    else:
        writer.writerow(["fname", "dialogue", "summary", "topic"])
        writer.writerows([row.fname, row.dialogue, *row.summaries, row.topic] for row in rows)


def write_corpus(
    folder: str | os.PathLike[str], *, train: int = 2000, dev: int = 200, test: int = 200, seed: int = 20
) -> None:
    """Write train.csv, dev.csv and test.csv with the given numbers of rows into ``folder``, created if missing."""
    sizes: dict[SplitName, int] = {"train": train, "dev": dev, "test": test}
    for split, size in sizes.items():
        with (
            atomic_path(Path(folder) / f"{split}.csv") as work,
            work.open("w", encoding="utf-8", newline="") as out,
        ):
            _write_rows(out, generate(size, seed, split=split), split)


def write_samples(target: str | os.PathLike[str] | TextIO, n: int, seed: int) -> None:
    """Write ``n`` rows in the format of train.csv to a path, atomically, or to an open text stream.

    A progress bar is shown if stderr is a terminal.

    Raises UserError for a negative ``n``.
    """
    rows = tqdm(generate(n, seed, split="train"), total=n, desc="samples", unit="row", disable=None)
    if isinstance(target, str | os.PathLike):
        with atomic_path(target) as work, work.open("w", encoding="utf-8", newline="") as out:
            _write_rows(out, rows, "train")
    else:
        _write_rows(target, rows, "train")
