"""Measure how the memory and the time of each stage grow with the rows.

    python benchmarks/scale.py 1000 10000                        # minutes; 100000 takes hours with all stages
    python benchmarks/scale.py 1000 10000 100000 --stages samples prepare

A project of its own, in a temporary folder, has as many dialogues in train as in test, and 200 in dev. Its members are
two random BARTs of 16 dimensions, so that decoding takes little, and the candidates that ensembles and the evaluation
read are the corpus's summaries with words dropped and doubled. Each stage is a process of its own, the command that a
person would run; peak memory is that of the largest process that it has had. Imports are most of a stage's memory, so
look at what is added from one column to the next.

`kiwi` is the evaluation again, in one process that counts what the morphological analyser is given.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEV_ROWS, GENERATED = 200, 2000
"""Rows of dev, and of the others before the same ones come again, with a turn more that has a number."""
MEMBERS = ("a", "b")
CANDIDATES = 3
STAGES: dict[str, Sequence[str]] = {
    "samples": ("samples", "--n", "{rows}", "--output", "samples.csv"),
    "prepare": ("prepare",),
    "predict": ("predict", "tiny"),
    "score_candidates": ("score_candidates",),
    "ensemble mbr": ("ensemble", "mbr"),
    "ensemble stack": ("ensemble", "stack"),
    "evaluate": ("evaluate",),
    "kiwi": (),
}
"""Arguments of `yoyak`."""
PARAMS = """\
data:
  folder: data
  files: {train: train.csv, dev: dev.csv, test: test.csv}
tokenizers:
  bpe: {type: bpe, vocab_size: 3000}
  unigram: {type: unigram, vocab_size: 3000}
members:
  a: {family: seq2seq, checkpoint: local, learning_rate: 0.001}
  b: {family: seq2seq, checkpoint: local, learning_rate: 0.001}
  tiny: {family: seq2seq, checkpoint: local, learning_rate: 0.001}
generation: {max_new_tokens: 8, num_beams: 1, num_return_sequences: 1, batch_size: 64}
ensemble:
  strategies:
    mbr: {type: mbr, weights: dev, members: [a, b]}
    stack: {type: stack, members: [a, b]}
"""
UNIGRAM = "  unigram: {type: unigram, vocab_size: 3000}\n"
LIGHT = """\
ensemble: {strategies: {}}
scoring: {granularities: [eojeol], bootstrap_samples: 500}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a process took."""

    seconds: float
    """Of the processors, so that what else the machine does matters less."""
    peak_mb: float
    output: str


def run(command: Sequence[str], folder: Path) -> Measured:
    """Run a command, and measure it with its children."""
    environment = {"OMP_NUM_THREADS": "1", **os.environ}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        # This process is small: one begins with the peak of the process that starts it.
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        log.seek(0)
        output = log.read()
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{output[-3000:]}")
    return Measured(seconds=usage.ru_utime + usage.ru_stime, peak_mb=usage.ru_maxrss / 1024, output=output)


def make_project(rows: int, tested: int, light: bool) -> None:
    """Write data and models into the working directory; run in a process of its own."""
    sys.path.insert(0, str(ROOT / "tests"))
    from mlflow_helpers import make_bart
    from yoyak.data.samples import generate

    Path("dvc.yaml").write_text("stages: {}\n", encoding="utf-8")
    settings = PARAMS
    if light:
        settings = PARAMS[: PARAMS.index("ensemble:")].replace(UNIGRAM, "") + LIGHT
    Path("params.yaml").write_text(settings, encoding="utf-8")
    shutil.copytree(ROOT / "cases", "cases")
    for split, count, seed in (("train", rows, 1), ("dev", DEV_ROWS, 2), ("test", tested, 3)):
        rows_of = list(generate(min(count, GENERATED), seed, split="train"))
        path = Path("data", f"{split}.csv")
        path.parent.mkdir(exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out)
            writer.writerow(["fname", "dialogue", "summary", "topic"])
            for number in range(count):
                row = rows_of[number % GENERATED]
                more = f"\n#Person1#: {number // GENERATED}번이요." if number >= GENERATED else ""
                writer.writerow([f"{split}_{number}", row.dialogue + more, row.summaries[0], row.topic])
    for seed, member in enumerate((*MEMBERS, "tiny")):
        make_bart(Path("models", member), seed=seed)


def write_predictions() -> None:
    """Write what members would have written of the prepared splits, line by line."""
    for member in (*MEMBERS, "tiny"):
        chance = random.Random(member)
        folder = Path("predictions", member)
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(Path("prepared/eval").glob("*.jsonl")):
            with path.open(encoding="utf-8") as rows, (folder / path.name).open("w", encoding="utf-8") as out:
                for line in rows:
                    row = json.loads(line)
                    candidates = [
                        {"text": text, "score": -0.1 * (rank + 1)}
                        for rank, text in enumerate(_vary(row["summaries"][0], chance))
                    ]
                    out.write(json.dumps({"fname": row["fname"], "candidates": candidates}, ensure_ascii=False) + "\n")


def _vary(text: str, chance: random.Random) -> Iterator[str]:
    for _ in range(CANDIDATES):
        words = text.split()
        for _ in range(chance.randint(0, 3)):
            index = chance.randrange(len(words))
            if chance.random() < 0.5 and len(words) > 3:
                del words[index]
            else:
                words.insert(index, chance.choice(words))
        yield " ".join(words)


def count_kiwi() -> None:
    """Score as `yoyak evaluate` does, and print what Kiwi has analysed and how long that took."""
    from kiwipiepy import Kiwi

    from yoyak import params
    from yoyak.params.stages import EvaluateParams

    lines = seconds = 0.0
    distinct: set[int] = set()
    tokenize = Kiwi.tokenize

    def counted(self: Kiwi, texts: Sequence[str], **options: object) -> Iterator[object]:
        nonlocal lines, seconds
        lines += len(texts)
        distinct.update(map(hash, texts))
        found = iter(tokenize(self, texts, **options))
        while True:
            started = time.perf_counter()
            tokens = next(found, None)
            seconds += time.perf_counter() - started
            if tokens is None:
                return
            yield tokens

    Kiwi.tokenize = counted
    from yoyak.ensemble.evaluate import score_pipeline

    started = time.perf_counter()
    score_pipeline(params.load(EvaluateParams))
    share = seconds / (time.perf_counter() - started)
    print(
        f"kiwi: {lines:.0f} lines, {len(distinct)} of them distinct, {seconds:.1f} s waited, {share:.0%} of the scoring"
    )


def main() -> None:
    """Measure, and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=int, nargs="*", default=[1000, 10000])
    parser.add_argument("--stages", nargs="+", choices=[*STAGES], default=[*STAGES])
    parser.add_argument(
        "--light", action="store_true", help="score by eojeols alone, no ensembles, and no unigram tokenizer"
    )
    parser.add_argument("--step", choices=["project", "predictions", "kiwi"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step:
        steps = {
            "project": lambda: make_project(given.rows[0], given.rows[1], given.light),
            "predictions": write_predictions,
            "kiwi": count_kiwi,
        }
        steps[given.step]()
        return
    measured: dict[str, list[Measured]] = {stage: [] for stage in given.stages}
    itself = (sys.executable, __file__)
    for rows in given.rows:
        with tempfile.TemporaryDirectory(prefix="yoyak-scale-") as name:
            folder = Path(name)
            # What only reads train needs no large test set.
            tested = rows if set(given.stages) - {"samples", "prepare"} else DEV_ROWS
            light = ["--light"] * given.light
            run((*itself, str(rows), str(tested), "--step", "project", *light), folder)
            written = False
            for stage in STAGES:
                if stage not in given.stages and not (stage == "prepare" and set(given.stages) - {"samples"}):
                    continue
                if stage not in ("samples", "prepare", "predict") and not written:
                    run((*itself, "--step", "predictions"), folder)
                    written = True
                arguments = [argument.format(rows=rows) for argument in STAGES[stage]]
                command = [sys.executable, "-m", "yoyak", *arguments]
                result = run((*itself, "--step", "kiwi") if stage == "kiwi" else command, folder)
                if stage in measured:
                    measured[stage].append(result)
                    kiwi = "".join(f"  {line}" for line in result.output.splitlines() if line.startswith("kiwi:"))
                    print(f"{rows:>9,} {stage:<18} {result.seconds:8.1f} s {result.peak_mb:8.0f} MB{kiwi}", flush=True)
    print("\n| stage |" + "".join(f" {rows:,} rows |" for rows in given.rows) + " added per row, KB | ms per row |")
    print("| --- |" + " --- |" * (len(given.rows) + 2))
    for stage, results in measured.items():
        cells = "".join(f" {result.peak_mb:.0f} MB, {result.seconds:.1f} s |" for result in results)
        rest = " – | – |"
        if len(results) > 1:
            more = given.rows[-1] - given.rows[-2]
            memory = (results[-1].peak_mb - results[-2].peak_mb) * 1024 / more
            rest = f" {memory:.2f} | {(results[-1].seconds - results[-2].seconds) * 1000 / more:.2f} |"
        print(f"| {stage} |{cells}{rest}")


if __name__ == "__main__":
    main()
