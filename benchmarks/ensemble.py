"""Time the ensemble strategies on a big file, beside the straightforward loop over rouge_score.

    python benchmarks/ensemble.py            # 20,000 dialogues, 4 members with 4 candidates each; some ten minutes

The candidates are the generated corpus's summaries with words dropped, doubled and swapped. Each strategy reads the
members' files, runs in a process of its own with 1 and 2 processes to share the dialogues, and tells its peak memory.
The loop scores the same pairs of candidates with rouge_score, on a part of the dialogues: as one writes it, with a
tokenizer that rouge_score calls for both texts of each pair; and with all tokens known beforehand, as ours then are
too. Its choices must be the same.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from rouge_score import tokenizers
from rouge_score.rouge_scorer import RougeScorer

from yoyak.data.records import write_jsonl
from yoyak.data.samples import generate
from yoyak.decoding.candidates import Candidate, write_candidates
from yoyak.ensemble.combine import Combiner, combine, combine_all
from yoyak.ensemble.mbr import DIGITS
from yoyak.ensemble.pool import Row, read_rows
from yoyak.ensemble.units import split
from yoyak.ensemble.vote import decide
from yoyak.ensemble.weights import equal
from yoyak.korean.kiwi import analyse
from yoyak.params.ensemble import Mbr, Vote
from yoyak.scoring.tokenize import LineTokenizer, tokenizer

MEMBERS = ("a", "b", "c", "d")
CANDIDATES = 4
LOOPED, WRITTEN = 100, 20
"""Dialogues that the loop is timed on, with tokens known and as one writes it."""
STRATEGIES: dict[str, Mbr | Vote] = {
    "mbr": Mbr(type="mbr"),
    "vote": Vote(type="vote"),
    "vote by eojeol": Vote(type="vote"),
}


def write_corpus(folder: Path, count: int) -> None:
    """Write the dialogues and each member's candidates."""
    rows = list(generate(count, 1, split="train"))
    write_jsonl(folder / "rows.jsonl", rows)
    for member in MEMBERS:
        chance = random.Random(member)
        write_candidates(
            folder / f"{member}.jsonl",
            (
                (row.fname, [Candidate(_changed(row.summaries[0], chance), -rank / 10) for rank in range(CANDIDATES)])
                for row in rows
            ),
        )


def _changed(text: str, chance: random.Random) -> str:
    words = text.split()
    for _ in range(chance.randint(0, 4)):
        place = chance.randrange(len(words))
        kind = chance.random()
        if kind < 0.4 and len(words) > 3:
            del words[place]
        elif kind < 0.7:
            words.insert(place, words[place])
        else:
            other = chance.randrange(len(words))
            words[place], words[other] = words[other], words[place]
    return " ".join(words)


def rows_of(folder: Path) -> Any:
    """Yield the rows as a stage reads them."""
    return read_rows(folder / "rows.jsonl", {member: folder / f"{member}.jsonl" for member in MEMBERS})


def ours(folder: Path, name: str, processes: int) -> dict[str, float]:
    """Combine the whole file and return seconds and peak memory; runs in a process of its own."""
    granularity = "eojeol" if "eojeol" in name else "morpheme"
    combiner = Combiner(strategy=STRATEGIES[name], granularity=granularity, weights=equal(MEMBERS))
    tokenizer(granularity).tokenize("모델을 읽는다.")
    started = time.perf_counter()
    count = sum(1 for _ in combine_all(combiner, rows_of(folder), processes=processes))
    seconds = time.perf_counter() - started
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {"dialogues": count, "seconds": seconds, "peak_mb": peak / 1024}


def alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a function in a fresh process."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


class Plain(tokenizers.Tokenizer):
    """The morphemes of each text, analysed whenever they are asked for."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of one text."""
        return LineTokenizer("morpheme", tokenizer("morpheme")._split).tokenize(text)


def loop(rows: Sequence[Row], units: tokenizers.Tokenizer) -> list[str]:
    """Choose by the straightforward loop: every candidate against every one, by rouge_score."""
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=units)
    chosen = []
    for row in rows:
        texts = [candidate.text for member in MEMBERS for candidate in row.candidates[member]]
        expected = []
        for text in texts:
            total = 0.0
            for other in texts:
                found = scorer.score(other, text)
                total += 0.33 * found["rouge1"].fmeasure + 0.33 * found["rouge2"].fmeasure
                total += 0.34 * found["rougeL"].fmeasure
            expected.append(round(total / len(texts), DIGITS))
        chosen.append(texts[int(np.argmax(expected))])
    return chosen


def beside_the_loop(folder: Path) -> dict[str, float]:
    """Return dialogues per second of the loop and of ours in one process, and compare the choices."""
    rows = [row for row, _ in zip(rows_of(folder), range(LOOPED), strict=False)]
    combiner = Combiner(strategy=STRATEGIES["mbr"], granularity="morpheme", weights=equal(MEMBERS))
    known = tokenizer("morpheme")
    wanted = [outcome.text for outcome in combine(combiner, rows)]
    speeds: dict[str, list[float]] = {}

    def measure(name: str, function: Callable[[Sequence[Row]], list[str]], part: Sequence[Row]) -> None:
        started = time.perf_counter()
        chosen = function(part)
        speeds.setdefault(name, []).append(len(part) / (time.perf_counter() - started))
        if chosen != wanted[: len(part)]:
            raise SystemExit(f"{name} chooses otherwise")

    for _ in range(3):
        measure("mbr, tokens known", lambda part: [found.text for found in combine(combiner, part)], rows)
        measure("loop, tokens known", lambda part: loop(part, known), rows)
        measure("loop", lambda part: loop(part, Plain()), rows[:WRITTEN])
    shares = [1 / len(MEMBERS)] * len(MEMBERS)
    texts = [[row.best(member) for member in MEMBERS] for row in rows]
    units = [split(row, "morpheme") for row in texts]
    for _ in range(3):
        started = time.perf_counter()
        for row, found in zip(texts, units, strict=True):
            decide(found, shares, row, positional=False)
        speeds.setdefault("vote, units known", []).append(len(rows) / (time.perf_counter() - started))
    lines = [f"{text} {number}" for row in texts for number, text in enumerate(row)]
    for _ in range(3):
        started = time.perf_counter()
        found = list(analyse(lines))
        speeds.setdefault("Kiwi alone, the texts of a vote", []).append(
            len(found) / len(MEMBERS) / (time.perf_counter() - started)
        )
    return {name: max(found) for name, found in speeds.items()}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--n", type=int, default=20_000, help="dialogues (default 20000)")
    count = options.parse_args().n
    with tempfile.TemporaryDirectory() as temporary:
        sizes = {count // 4: Path(temporary, "quarter"), count: Path(temporary, "whole")}
        for size, folder in sizes.items():
            folder.mkdir()
            write_corpus(folder, size)
        speeds = alone(beside_the_loop, sizes[count])
        print(f"{os.cpu_count()} cores, {count} dialogues, {len(MEMBERS)} members with {CANDIDATES} candidates each\n")
        print("| in one process | dialogues/s |\n| --- | --- |")
        for name, speed in speeds.items():
            print(f"| {name} | {speed:.1f} |")
        print(f"\nThe same choices on {LOOPED} dialogues.\n")
        print("| strategy | processes | dialogues | seconds | dialogues/s | to the loop | peak memory, MB |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for name in STRATEGIES:
            for size, processes in ((count // 4, 1), (count, 1), (count, 2)):
                found = alone(ours, sizes[size], name, processes)
                speed = found["dialogues"] / found["seconds"]
                ratio = f"{speed / speeds['loop']:.0f}" if name == "mbr" else ""
                print(
                    f"| {name} | {processes} | {size} | {found['seconds']:.1f} | {speed:.0f} | {ratio} "
                    f"| {found['peak_mb']:.0f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
