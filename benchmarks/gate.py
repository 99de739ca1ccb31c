"""How often the gate replaces a champion that it should keep, and how often it lets a better challenger pass.

    python benchmarks/gate.py                                      # from benchmarks/seed_scores.csv, minutes
    python benchmarks/gate.py --dialogsum dialogsum.dev.jsonl      # and with scores drawn from DialogSum's dev set
    python benchmarks/gate.py --retrain 10                         # measures seed_scores.csv anew, an hour

A model's score of a dialogue is simulated as the dialogue's mean, plus the model's deviation (normal, with the standard
deviation between trainings that differ only in their seed), plus a residual drawn from those of real models of that
dialogue. Equal models have no deviation, retrainings have one; each of 1,000 champions meets 20 of them, and a column
says how many were ever replaced. The others say how many first challengers pass that are better by 0.02: the model
itself, or its recipe, while its seed makes it better or worse. The rule before this gate, a paired bootstrap at
p < 0.05 for each challenger alone, sees the same scores.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from yoyak.data.records import Dialogue, write_jsonl
from yoyak.data.samples import generate
from yoyak.decoding.candidates import read_candidates
from yoyak.params import Registry
from yoyak.registry.gate import sign_flip_test, spend
from yoyak.scoring.bootstrap import paired_bootstraps
from yoyak.scoring.rouge import rouge

ROOT = Path(__file__).parents[1]
SCORES = Path(__file__).with_name("seed_scores.csv")
DIALOGUES, CORPUS_SEED = 500, 4321
CHAMPIONS, CHALLENGERS = 1000, 20
GAIN = 0.02
SIZES = (100, 200, 500)
WEIGHTS = (0.33, 0.33, 0.34)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Combined ROUGE of equal models, which differ only in their seed."""

    name: str
    values: np.ndarray
    """[models, dialogues]"""
    seed_std: float
    """Standard deviation between the models' expected scores."""

    def draw(self, models: int, dialogues: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Return simulated scores [models, dialogues] of models that are equal in expectation."""
        means = self.values.mean(axis=0)
        # The mean over the models takes a part of each residual away.
        residuals = (self.values - self.values.mean(axis=1, keepdims=True) - means + means.mean()) * math.sqrt(
            len(self.values) / (len(self.values) - 1)
        )
        chosen = random.integers(len(self.values), size=(models, len(dialogues)))
        deviations = random.normal(0, self.seed_std, (models, 1))
        return means[dialogues] + deviations + residuals[chosen, dialogues]


def estimate_seed_std(values: np.ndarray) -> float:
    """Return the standard deviation of the models' expected scores, without the noise of the dialogues."""
    models, dialogues = values.shape
    interaction = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + values.mean()
    noise = (interaction**2).sum() / ((models - 1) * (dialogues - 1)) / dialogues
    return math.sqrt(max(0.0, values.mean(axis=1).var(ddof=1) - noise))


def pass_gate(differences: np.ndarray, levels: np.ndarray, rules: Registry) -> np.ndarray:
    """Return for each row of differences [challengers, dialogues] whether it passes the gate at its level."""
    noise = math.sqrt(2) * rules.seed_std
    means = differences.mean(axis=1)
    errors = np.sqrt((differences**2).sum(axis=1) / differences.shape[1] ** 2 + noise**2)
    # A level is 0.0304 at most, which 1.5 standard errors do not come near.
    candidates = np.flatnonzero((means >= rules.min_gain) & (means > 1.5 * errors))
    passed = np.zeros(len(differences), bool)
    for chunk in np.array_split(candidates, max(1, len(candidates) // 500)):
        if len(chunk):
            p_values = sign_flip_test(differences[chunk], resamples=rules.resamples, seed=0, noise=noise)
            passed[chunk] = p_values < levels[chunk]
    return passed


def pass_before(differences: np.ndarray) -> np.ndarray:
    """Return for each row whether it passes the rule before this gate."""
    passed = np.zeros(len(differences), bool)
    for start in range(0, len(differences), 1000):
        results = paired_bootstraps(differences[start : start + 1000], samples=2000, confidence=0.95, seed=0)
        passed[start : start + 1000] = [result.difference > 0 and result.p_value < 0.05 for result in results]
    return passed


def simulate(scores: Scores, size: int, challengers: int, gain: float, random: np.random.Generator) -> np.ndarray:
    """Return the differences between challengers and their champions [champions * challengers, dialogues]."""
    rows = []
    for _ in range(CHAMPIONS):
        dialogues = random.choice(scores.values.shape[1], size, replace=False)
        models = scores.draw(1 + challengers, dialogues, random)
        rows.append(models[1:] - models[0] + gain)
    return np.concatenate(rows)


def report(scores: Scores) -> None:
    """Print the estimated noise and the shares for each size, with and without allowing for seeds."""
    random = np.random.default_rng(20)
    pairs = scores.values[:, None] - scores.values[None]
    spread = pairs[~np.eye(len(pairs), dtype=bool)].std(axis=-1).mean()
    print(f"\n{scores.name}: {len(scores.values)} models, {scores.values.shape[1]} dialogues")
    print(f"standard deviation between seeds {scores.seed_std:.4f}, of the difference on a dialogue {spread:.3f}")
    print("| gate dialogues | rule | replaced by equal models | by retrainings | better model | better recipe |")
    print("| --- | --- | --- | --- | --- | --- |")
    exact = replace(scores, seed_std=0.0)
    spent = np.array([spend(0.05, attempt) for attempt in range(1, CHALLENGERS + 1)])
    first = np.full(CHAMPIONS, spend(0.05, 1))
    for size in (size for size in SIZES if size <= scores.values.shape[1]):
        equal = [simulate(source, size, CHALLENGERS, 0.0, random) for source in (exact, scores)]
        better = [simulate(source, size, 1, GAIN, random) for source in (exact, scores)]
        rules: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
            f"gate, seed_std {seed_std:.4f}": partial(pass_gate, rules=Registry(seed_std=seed_std))
            for seed_std in (0.0, scores.seed_std)
        }
        rules["before"] = lambda differences, _: pass_before(differences)
        for name, rule in tqdm(rules.items(), desc=f"{scores.name}, {size} dialogues", disable=None):
            ever = [rule(table, np.tile(spent, CHAMPIONS)).reshape(CHAMPIONS, -1).any(axis=1).mean() for table in equal]
            passed = [rule(table, first).mean() for table in better]
            print(f"| {size} | {name} | {' | '.join(f'{share:.1%}' for share in (*ever, *passed))} |", flush=True)


def read_seed_scores(member: str) -> np.ndarray:
    """Return the combined ROUGE of retrainings of a member [seeds, dialogues]."""
    with SCORES.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    columns = [name for name in rows[0] if re.fullmatch(rf"{member}-\d+", name)]
    return np.array([[float(row[name]) for row in rows] for name in columns])


def read_members() -> list[str]:
    """Return the members whose retrainings were measured."""
    with SCORES.open(newline="") as lines:
        names = next(csv.reader(lines))[1:]
    return list(dict.fromkeys(name.rpartition("-")[0] for name in names))


def draw_from_dialogsum(path: Path, seed_std: float, models: int = 20) -> Scores:
    """Return scores of extractors that differ only in their seed: each takes two random turns of a dialogue."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    random = np.random.default_rng(0)
    values = []
    for _ in range(models):
        texts = []
        for row in rows:
            turns = row["dialogue"].splitlines()
            chosen = sorted(random.choice(len(turns), min(2, len(turns)), replace=False))
            texts.append(" ".join(turns[index] for index in chosen))
        references = [[row["summary"]] for row in rows]
        scores = rouge(texts, references, granularity="english", multi_reference="mean", weights=WEIGHTS)
        values.append(scores["combined"])
    table = np.array(values)
    return Scores(name="DialogSum dev, random extractors", values=table, seed_std=seed_std)


def retrain(seeds: int) -> None:
    """Train each sample member with several seeds in a clone, summarize generated dialogues, write seed_scores.csv."""
    rows = list(generate(DIALOGUES, CORPUS_SEED, split="test"))
    columns: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        clone = Path(temporary, "clone")
        run(ROOT, "git", "clone", "--quiet", str(ROOT), str(clone))
        run(clone, "dvc", "pull", "--quiet", "data.dvc")
        run(clone, "yoyak", "prepare")
        dev = clone / "prepared/eval/dev.jsonl"
        for split in dev.parent.glob("*.jsonl"):
            if split != dev:
                split.unlink()
        write_jsonl(dev.with_name("seeds.jsonl"), rows)
        params = (clone / "params.yaml").read_text(encoding="utf-8")
        for member in re.findall(r"^  (\w+):\n    family:", params, re.M):
            run(clone, "yoyak", "base", member)
            for seed in range(1, seeds + 1):
                changed = re.sub(r"^seed: .*", f"seed: {seed}", params, flags=re.M)
                (clone / "params.yaml").write_text(changed, encoding="utf-8")
                run(clone, "yoyak", "train", member)
                run(clone, "yoyak", "predict", member)
                columns[f"{member}-{seed}"] = score_predictions(clone / f"predictions/{member}/seeds.jsonl", rows)
                write_seed_scores(rows, columns)


def score_predictions(path: Path, rows: list[Dialogue]) -> list[float]:
    """Return the combined ROUGE of a member's summary of each dialogue."""
    candidates = read_candidates(path)
    texts = [candidates[row.fname][0].text for row in rows]
    references = [row.summaries for row in rows]
    scores = rouge(texts, references, granularity="morpheme", multi_reference="mean", weights=WEIGHTS)
    return [round(float(score), 4) for score in scores["combined"]]


def write_seed_scores(rows: list[Dialogue], columns: dict[str, list[float]]) -> None:
    """Write a row for each dialogue and a column for each model."""
    with SCORES.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["fname", *columns])
        writer.writerows([row.fname, *values] for row, *values in zip(rows, *columns.values(), strict=True))


def run(folder: Path, *command: str) -> None:
    """Run a command of this environment in a folder."""
    subprocess.run(
        [str(Path(sys.executable).with_name(command[0])) if command[0] != "git" else "git", *command[1:]],
        cwd=folder,
        check=True,
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--retrain", type=int, metavar="SEEDS", help="measure seed_scores.csv anew")
    parser.add_argument("--dialogsum", type=Path, help="dialogsum.dev.jsonl")
    arguments = parser.parse_args()
    if arguments.retrain:
        retrain(arguments.retrain)
    stds = []
    for member in read_members():
        values = read_seed_scores(member)
        stds.append(estimate_seed_std(values))
        report(Scores(name=f"sample corpus, {member}", values=values, seed_std=stds[-1]))
    if arguments.dialogsum:
        report(draw_from_dialogsum(arguments.dialogsum, stds[0]))


if __name__ == "__main__":
    main()
