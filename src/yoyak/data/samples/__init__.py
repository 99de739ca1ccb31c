"""The sample corpus: Korean everyday dialogues with summaries, generated from a seed.

`generate` streams rows, `write_corpus` writes the project's data folder, `write_samples` one CSV of any size. The same
seed gives the same rows on every machine. A dialogue's split is derived from its text, so no dialogue can be in two
splits, whatever the seeds.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Literal, TextIO, get_args

from tqdm import tqdm

from yoyak.data.digests import DigestSet
from yoyak.data.facts import NO_FACTS, KnownFacts, dump_facts
from yoyak.data.records import Dialogue
from yoyak.data.samples import topics_health, topics_home, topics_money, topics_shop, topics_travel, topics_work
from yoyak.data.samples.compose import MAX_TURNS, Sample, compose
from yoyak.data.samples.long import draw_long
from yoyak.data.samples.parts import draw_scenario
from yoyak.data.samples.scenario import REFERENCES, Scenario, parse_scenarios
from yoyak.data.samples.situations import draw_situation
from yoyak.data.samples.slots import SLOTS
from yoyak.data.samples.vocabulary import OpenVocabulary
from yoyak.errors import UserError, nearest
from yoyak.files import atomic_path

SplitName = Literal["train", "dev", "test", "gate"]

_ENDS: dict[SplitName, int] = {"train": 0x8000, "dev": 0xC000, "test": 0x10000}
"""A dialogue belongs to the first split whose end is above the first 16 bits of its digest."""
_GATE = (range(0xC3F0, 0xC560), range(0xDC60, 0xDE00), range(0xF840, 0xF9C0))
"""Exceptions: these belong to gate. They are gaps between the digests of test.csv, which was there before gate."""
_HELD_OUT = ("test", "gate")
"""Splits with unseen scenarios, all references and slices."""
_UNSEEN_PER_TEN = 3
_WORDING_WEIGHTS = (80, 10, 10)
_KNOWN_VOCABULARY, _KNOWN_SCENARIOS, _COMPOSED = 0.2, 0.4, 0.55
"""Of the rows for pretraining, up to: known scenarios with known values, with any, and those composed from parts."""
_P_FIX_OPEN = 0.7
"""For pretraining: models learn last of all that a value was corrected."""
_MODULES = (topics_home, topics_shop, topics_money, topics_health, topics_travel, topics_work)


@cache
def scenarios() -> tuple[Scenario, ...]:
    """Return the scenarios of all topics."""
    return tuple(scenario for module in _MODULES for scenario in parse_scenarios(module.SCENARIOS))


def stream_samples(n: int, seed: int, *, split: SplitName) -> Iterator[Sample]:
    """Stream ``n`` distinct samples of a split; a larger ``n`` only appends samples.

    Three of every ten samples of test and gate are of unseen scenarios, evenly spread. Memory grows by one digest per
    row. Samples of gate take over ten times as long as those of test, because few dialogues belong to it.

    Raises UserError for an unknown split or a negative ``n``.
    """
    if split not in get_args(SplitName):
        raise UserError(f"'{split}' is not a split of the sample corpus{nearest(split, get_args(SplitName))}.")
    if n < 0:
        raise UserError(f"The number of samples is {n}, but it must be 0 or more.")
    return _draw_samples(n, seed, split)


def _draw_samples(n: int, seed: int, split: SplitName) -> Iterator[Sample]:
    rng = random.Random(f"yoyak samples {seed} {split}")
    decks = {unseen: _draw_scenarios(unseen, rng) for unseen in (False, True)}
    seen = DigestSet()
    for row in range(n):
        is_unseen = split in _HELD_OUT and (row + 1) * _UNSEEN_PER_TEN // 10 > row * _UNSEEN_PER_TEN // 10
        scenario = next(decks[is_unseen])
        while True:
            sample = compose(scenario, rng)
            digest = hashlib.blake2b(sample.dialogue.encode(), digest_size=8).digest()
            if _find_split(digest) == split and digest not in seen:
                break
        seen.add(digest)
        yield sample


def _find_split(digest: bytes) -> SplitName:
    position = int.from_bytes(digest[:2], "big")
    if any(position in part for part in _GATE):
        return "gate"
    return next(split for split, end in _ENDS.items() if position < end)


def _draw_scenarios(unseen: bool, rng: random.Random) -> Iterator[Scenario]:
    """Yield scenarios endlessly, each once before any repeats, so that even a small corpus has all of them."""
    deck = [scenario for scenario in scenarios() if scenario.unseen == unseen]
    while True:
        rng.shuffle(deck)
        yield from deck


def generate(n: int, seed: int, *, split: SplitName) -> Iterator[Dialogue]:
    """Stream ``n`` distinct rows of a split, the same for the same ``seed``; a larger ``n`` only appends rows.

    Rows of train and dev have one summary. Rows of test and gate have three, and a slice: ``seen`` if the scenario
    also occurs in train and dev, else ``unseen``.

    Raises UserError for an unknown split or a negative ``n``.
    """
    return (row for row, _ in generate_with_facts(n, seed, split=split))


def generate_with_facts(n: int, seed: int, *, split: SplitName) -> Iterator[tuple[Dialogue, KnownFacts]]:
    """Stream the rows of `generate`, each with what its summary has to state."""
    wording = random.Random(f"yoyak wordings {seed} {split}")
    return (
        (_to_row(number, sample, split, wording), sample.facts)
        for number, sample in enumerate(stream_samples(n, seed, split=split))
    )


def generate_open(n: int, seed: int) -> Iterator[Dialogue]:
    """Stream ``n`` distinct rows for pretraining: far more kinds of dialogues than `generate`, of the split train.

    A fifth are of the seen scenarios as they are, a fifth of the same with open vocabularies, some of scenarios that
    are composed from parts, and nearly half of situations. Memory grows by one digest per row.
    """
    rng = random.Random(f"yoyak open samples {seed}")
    vocabulary = OpenVocabulary(rng)
    decks = _draw_scenarios(False, rng)
    seen = DigestSet()
    while len(seen) < n:
        kind = rng.random()
        if kind < _KNOWN_SCENARIOS:
            scenario = next(decks)
        else:
            scenario = draw_scenario(rng) if kind < _COMPOSED else draw_situation(rng)
        sample = compose(scenario, rng, SLOTS if kind < _KNOWN_VOCABULARY else vocabulary, p_fix=_P_FIX_OPEN)
        digest = hashlib.blake2b(sample.dialogue.encode(), digest_size=8).digest()
        if _find_split(digest) == "train" and digest not in seen:
            seen.add(digest)
            yield _to_row(len(seen) - 1, sample, "train", rng)


def generate_long(
    n: int, seed: int, turns: tuple[int, int], *, split: SplitName
) -> Iterator[tuple[Dialogue, KnownFacts]]:
    """Stream ``n`` distinct dialogues of several conversations of a split, with their facts: see `samples.long`.

    Each has three summaries and, as its slice, a bin of its number of turns, which is within ``turns``.
    """
    known = [scenario for scenario in scenarios() if not scenario.unseen]
    return draw_long(n, seed, turns, known, lambda digest: _find_split(digest) == split, f"long_{split}")


def _to_row(number: int, sample: Sample, split: SplitName, wording: random.Random) -> Dialogue:
    held_out = split in _HELD_OUT
    return Dialogue(
        fname=f"{split}_{number}",
        dialogue=sample.dialogue,
        summaries=sample.references if held_out else tuple(wording.choices(sample.references, _WORDING_WEIGHTS)),
        topic=sample.scenario.topic,
        slice=("unseen" if sample.scenario.unseen else "seen") if held_out else "",
    )


def _write_rows(
    out: TextIO, rows: Iterable[tuple[Dialogue, KnownFacts]], split: SplitName, *, has_slices: bool | None = None
) -> None:
    writer = csv.writer(out, lineterminator="\n")
    if split in _HELD_OUT if has_slices is None else has_slices:
        names = [f"summary{number}" for number in range(1, REFERENCES + 1)]
        writer.writerow(["fname", "dialogue", *names, "topic", "slice", "facts"])
        writer.writerows(
            [row.fname, row.dialogue, *row.summaries, row.topic, row.slice, _facts_cell(facts)] for row, facts in rows
        )
    else:
        # Nothing is scored on train.
        names = [] if split == "train" else ["facts"]
        writer.writerow(["fname", "dialogue", "summary", "topic", *names])
        writer.writerows(
            [row.fname, row.dialogue, *row.summaries, row.topic, *(_facts_cell(facts) for _ in names)]
            for row, facts in rows
        )


def _facts_cell(facts: KnownFacts) -> str:
    return json.dumps(dump_facts(facts), ensure_ascii=False)


def write_corpus(
    folder: str | os.PathLike[str],
    *,
    train: int = 2000,
    dev: int = 200,
    test: int = 200,
    gate: int = 100,
    seed: int = 20,
) -> None:
    """Write a file such as train.csv for each split, with the given numbers of rows, into ``folder``.

    The folder is created if it is missing.
    """
    sizes: dict[SplitName, int] = {"train": train, "dev": dev, "test": test, "gate": gate}
    for split, size in sizes.items():
        with (
            atomic_path(Path(folder) / f"{split}.csv") as work,
            work.open("w", encoding="utf-8", newline="") as out,
        ):
            _write_rows(out, generate_with_facts(size, seed, split=split), split)


def write_samples(
    target: str | os.PathLike[str] | TextIO,
    n: int,
    seed: int,
    *,
    is_open: bool = False,
    split: SplitName = "train",
    turns: tuple[int, int] | None = None,
) -> None:
    """Write ``n`` rows in the format of the split's file to a path, atomically, or to an open text stream.

    A progress bar is shown if stderr is a terminal. ``is_open`` gives the rows of `generate_open`, and ``turns`` those
    of `generate_long`, with all references, slices and facts in every split.

    Raises UserError for a negative ``n``, an unknown split, and a range of turns that is too short.
    """
    if turns is not None and turns[0] < MAX_TURNS:
        raise UserError(
            f"A long dialogue has at least {MAX_TURNS} turns, which one conversation can have, not {turns[0]}."
        )
    source: Iterable[tuple[Dialogue, KnownFacts]]
    if is_open:
        source = ((row, NO_FACTS) for row in generate_open(n, seed))
    elif turns is not None:
        source = generate_long(n, seed, turns, split=split)
    else:
        source = generate_with_facts(n, seed, split=split)
    rows = tqdm(source, total=n, desc="samples", unit="row", disable=None)
    has_slices = True if turns is not None else None
    if isinstance(target, str | os.PathLike):
        with atomic_path(target) as work, work.open("w", encoding="utf-8", newline="") as out:
            _write_rows(out, rows, split, has_slices=has_slices)
    else:
        _write_rows(target, rows, split, has_slices=has_slices)
