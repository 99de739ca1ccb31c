"""Time continuous and static batching where other work shares the machine: by the CPU time of one thread, without HTTP.

    python benchmarks/arrivals_cpu.py --rates 2,4,6 --requests 120   # KoBART's shape in INT8; minutes of CPU time
    python benchmarks/arrivals_cpu.py --tiny --rates 400,1600        # a tiny model: does the benchmark itself work?

Model, dialogues and arrivals are those of `arrivals`. The clock stands still while the process does not run: it goes on
by the CPU time of what is computed, and jumps to the next arrival where there is nothing to do. Both ways of batching
summarize the same dialogues for real, in turn, with the server's rules for what is taken from the queue.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from arrivals import cut, prepare
from serving_parts import SHAPES

from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.serving.batching import LOOKAHEAD
from yoyak.serving.continuous import ENCODED_TOKENS

SIZE = 32
"""Dialogues at once."""


def run_static(
    summarizer: OnnxSummarizer, texts: Sequence[str], due: Sequence[float], late: list[float]
) -> Iterator[float]:
    """Note the latency of each request where a batch begins and ends as one; yield the time after each batch."""
    now, waiting, arrived = 0.0, list[int](), 0
    while arrived < len(due) or waiting:
        if not waiting:
            now = max(now, due[arrived])
        while arrived < len(due) and due[arrived] <= now:
            waiting.append(arrived)
            arrived += 1
        length = len(texts[waiting[0]])
        others = sorted(waiting[1 : LOOKAHEAD * SIZE], key=lambda row: abs(len(texts[row]) - length))
        batch = [waiting[0], *others[: SIZE - 1]]
        waiting = [row for row in waiting if row not in batch]
        started = time.process_time()
        summarizer.summarize([texts[row] for row in batch])
        now += time.process_time() - started
        for row in batch:
            late[row] = now - due[row]
        yield now


def run_continuous(
    summarizer: OnnxSummarizer, texts: Sequence[str], due: Sequence[float], late: list[float]
) -> Iterator[float]:
    """Note the latency of each request where dialogues join others at any time; yield the time after each step."""
    run = summarizer.open_run(summarizer.generation, SIZE)
    now, arrived = 0.0, 0
    entering: list[tuple[int, Any]] = []
    rows: dict[Any, int] = {}
    while arrived < len(due) or entering or rows:
        if not entering and not rows:
            now = max(now, due[arrived])
        started = time.process_time()
        while arrived < len(due) and due[arrived] <= now and len(rows) + len(entering) < SIZE:
            entering.append((arrived, run.read(texts[arrived])))
            arrived += 1
        chosen: list[tuple[int, Any]] = []
        for one in entering:
            width = max(len(reading.ids) for _, reading in [*chosen, one])
            if chosen and width * (len(chosen) + 1) > ENCODED_TOKENS:
                break
            chosen.append(one)
        if chosen:
            entering = entering[len(chosen) :]
            run.add([reading for _, reading in chosen])
            rows |= {reading: row for row, reading in chosen}
        finished = run.step()
        now += time.process_time() - started
        for reading, _ in finished:
            row = rows.pop(reading)
            late[row] = now - due[row]
        yield now


def take_turns(*runs: Iterator[float]) -> None:
    """Let whoever is behind go on, so that other work on the machine slows all of them alike."""
    times = dict.fromkeys(runs, 0.0)
    while times:
        run = min(times, key=lambda one: times[one])
        moment = next(run, None)
        if moment is None:
            del times[run]
        else:
            times[run] = moment


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--tiny", action="store_true", help="a tiny model in fp32")
    options.add_argument("--model", type=Path, help="a folder in which the model is kept, and looked for")
    options.add_argument("--beams", type=int, default=1, help="beams of the search (default 1)")
    options.add_argument("--rates", default="2,4,6,8", help="requests a second of CPU time (default 2,4,6,8)")
    options.add_argument("--requests", type=int, default=120, help="of each rate (default 120)")
    options.add_argument("--seed", type=int, default=0, help="of the arrivals (default 0)")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.model or Path(temporary)
        kept = folder / "texts.json"
        if not kept.is_file():
            precision = "fp32" if chosen.tiny else "int8"
            _, texts = prepare(folder, SHAPES["tiny" if chosen.tiny else "kobart"], precision, chosen.beams)
            kept.write_text(json.dumps(texts), encoding="utf-8")
        texts = json.loads(kept.read_text(encoding="utf-8"))
        summarizer = OnnxSummarizer.load(folder / "onnx", threads=1)
    summarizer.summarize(texts[:2])
    print(f"{chosen.requests} requests at each rate, one thread of {os.cpu_count()} cores\n")
    print("| requests/s | p50 static | p50 continuous | ratio | p95 static | p95 continuous | ratio |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for rate in map(float, chosen.rates.split(",")):
        chance, moment, due = random.Random(chosen.seed), 0.0, []
        for _ in range(chosen.requests):
            moment += chance.expovariate(rate)
            due.append(moment)
        asked = [texts[number % len(texts)] for number in range(chosen.requests)]
        static, continuous = [0.0] * len(due), [0.0] * len(due)
        take_turns(run_static(summarizer, asked, due, static), run_continuous(summarizer, asked, due, continuous))
        cells = []
        for share in (0.5, 0.95):
            one, other = cut(static, share), cut(continuous, share)
            cells += [f"{one:.2f}", f"{other:.2f}", f"{other / one:.2f}"]
        print(f"| {rate:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
