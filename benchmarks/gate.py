"""How often the gate replaces a champion that it should keep, and how often it lets a better challenger pass.

    python benchmarks/gate.py                                      # from benchmarks/seed_scores.csv, minutes
    python benchmarks/gate.py --dialogsum dialogsum.dev.jsonl      # and with scores drawn from DialogSum's dev set
    python benchmarks/gate.py --retrain 10                         # measures seed_scores.csv anew, an hour

A model's score of a dialogue is simulated as the dialogue's mean, plus the model's deviation (normal, with the standard
deviation between trainings that differ only in their seed), plus a residual drawn from those of real models of that
dialogue. Equal challengers have the champion's expected score; better ones have it raised by a gain. The rule before
this gate, a paired bootstrap at p < 0.05 for each challenger alone, is simulated on the same scores.
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
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from yoyak.data.records import Dialogue, write_jsonl
from yoyak.data.samples import generate
from yoyak.decoding.candidates import read_candidates
from yoyak.params import Registry
from yoyak.registry.gate import decide, sign_flip_test, spend
from yoyak.scoring.bootstrap import paired_bootstraps
from yoyak.scoring.rouge import rouge

ROOT = Path(__file__).parents[1]
SCORES = Path(__file__).with_name("seed_scores.csv")
DIALOGUES, CORPUS_SEED = 500, 4321
CHAMPIONS, CHALLENGERS, TRIALS = 1000, 20, 1000
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


def replaced_champions(scores: Scores, size: int, rules: Registry, random: np.random.Generator) -> dict[str, float]:
    """Return the share of champions that any of their equal challengers replaces, by the gate and by the old rule."""
    replaced = {"gate": 0, "before": 0}
    levels = np.array([spend(rules.significance, attempt) for attempt in range(1, CHALLENGERS + 1)])
    noise = math.sqrt(2) * rules.seed_std
    for _ in tqdm(range(CHAMPIONS), desc=f"{scores.name}, {size} dialogues, equal", disable=None):
        dialogues = random.choice(scores.values.shape[1], size, replace=False)
        models = scores.draw(1 + CHALLENGERS, dialogues, random)
        differences = models[1:] - models[0]
        p_values = sign_flip_test(differences, resamples=rules.resamples, seed=0, noise=noise)
        replaced["gate"] += bool(((p_values < levels) & (differences.mean(axis=1) >= rules.min_gain)).any())
        comparisons = paired_bootstraps(differences, samples=2000, confidence=0.95, seed=0)
        replaced["before"] += any(result.difference > 0 and result.p_value < 0.05 for result in comparisons)
    return {rule: count / CHAMPIONS for rule, count in replaced.items()}


def passed_challengers(scores: Scores, size: int, rules: Registry, random: np.random.Generator) -> dict[str, float]:
    """Return the share of first challengers with a true gain that pass.

    ``model``: the model itself is better by the gain. ``recipe``: its recipe is, and its seed makes it more or less.
    """
    passed = {"gate, model": 0, "gate, recipe": 0, "before, model": 0}
    fixed = Scores(name=scores.name, values=scores.values, seed_std=0.0)
    for _ in tqdm(range(TRIALS), desc=f"{scores.name}, {size} dialogues, better", disable=None):
        dialogues = random.choice(scores.values.shape[1], size, replace=False)
        for kind, source in (("model", fixed), ("recipe", scores)):
            champion, challenger = source.draw(2, dialogues, random)
            challenger = challenger + GAIN
            verdict = decide(
                challenger,
                champion,
                slices=[""] * size,
                rules=rules,
                seed=0,
                champion_version=1,
                dataset="",
                attempt=1,
            )
            passed[f"gate, {kind}"] += verdict.passed
            if kind == "model":
                [result] = paired_bootstraps((challenger - champion)[None], samples=2000, confidence=0.95, seed=0)
                passed["before, model"] += result.difference > 0 and result.p_value < 0.05
    return {rule: count / TRIALS for rule, count in passed.items()}


def report(scores: Scores) -> None:
    """Print the estimated noise and both shares for each size, with and without allowing for seeds."""
    random = np.random.default_rng(20)
    pairs = scores.values[:, None] - scores.values[None]
    spread = pairs[~np.eye(len(pairs), dtype=bool)].std(axis=-1).mean()
    print(f"\n{scores.name}: {len(scores.values)} models, {scores.values.shape[1]} dialogues")
    print(f"standard deviation between seeds {scores.seed_std:.4f}, of the difference on a dialogue {spread:.3f}")
    print("| gate dialogues | registry.seed_std | rule | champions replaced by equals | better ones that pass |")
    print("| --- | --- | --- | --- | --- |")
    for size in SIZES:
        if size > scores.values.shape[1]:
            continue
        for seed_std in (0.0, scores.seed_std):
            rules = Registry(seed_std=seed_std)
            equal = replaced_champions(scores, size, rules, random)
            better = passed_challengers(scores, size, rules, random)
            passes = f"{better['gate, model']:.1%} (recipe {better['gate, recipe']:.1%})"
            print(f"| {size} | {seed_std:.4f} | gate | {equal['gate']:.1%} | {passes} |", flush=True)
        print(f"| {size} | | before | {equal['before']:.1%} | {better['before, model']:.1%} |", flush=True)


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
