"""Time studies: the overhead of a trial, what a second worker gains, pruning, TPE against random, and the storages.

    python benchmarks/studies.py workers            # the overhead of a trial, and what a second worker gains
    python benchmarks/studies.py pruning sampler    # both share the trials with random values
    python benchmarks/studies.py storages

Each takes a few minutes on two cores. Each figure is of a project of its own in a temporary folder, with `yoyak study
run` as a person starts it; trainings are of a tiny model on the first rows of the sample corpus.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from ruamel.yaml import YAML

from yoyak.params.studies import Pruner
from yoyak.studies.samplers import make_pruner
from yoyak.studies.storage import open_storage

ROOT = Path(__file__).parents[1]
TINY = {"model_type": "bart", "d_model": 32, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64, "encoder_attention_heads": 2, "decoder_attention_heads": 2,
        "max_position_embeddings": 512, "scale_embedding": True, "dropout": 0.05}  # fmt: skip
RATE = {"members.bart.learning_rate": {"type": "float", "low": 1e-4, "high": 1e-2, "log": True}}
SPACE = {
    "members.bart.learning_rate": {"type": "float", "low": 1e-3, "high": 5e-2, "log": True},
    "members.bart.batch_size": {"type": "categorical", "choices": [4, 8, 16]},
    "members.bart.warmup_ratio": {"type": "float", "low": 0.0, "high": 0.3},
    "members.bart.label_smoothing": {"type": "float", "low": 0.0, "high": 0.2},
}
RANDOM: dict[str, Any] = {"sampler": {"type": "random"}}
TPE: dict[str, Any] = {"sampler": {"type": "tpe", "startup_trials": 4}}
PRUNERS = {
    "median": Pruner(type="median", startup_trials=2),
    "asha, 1 of 2": Pruner(type="asha", reduction_factor=2),
    "asha, 1 of 4": Pruner(type="asha", reduction_factor=4),
}
ROWS = {"train": 400, "dev": 40, "test": 8, "gate": 8}
"""Rows of the sample corpus that are left."""
SMALL_TRIALS, WRITERS, SECONDS = 16, 8, 10.0
"""Trials of the small studies; processes that write to a storage, and for how long."""
Edit = Callable[[dict[str, Any]], None]


def make_project(folder: Path, edit: Edit) -> Path:
    """Fill a folder with prepared data and params.yaml."""
    shutil.copy(ROOT / "params.yaml", folder)
    shutil.copytree(ROOT / "cases", folder / "cases")
    (folder / "studies").mkdir()
    yaml = YAML()
    tree = yaml.load(folder / "params.yaml")
    # `yoyak corpus` does not write it.
    del tree["data"]["files"]["handwritten"]
    edit(tree)
    yaml.dump(tree, folder / "params.yaml")
    run(folder, "corpus", "data")
    for name, rows in ROWS.items():
        keep_rows(folder / "data" / f"{name}.csv", rows)
    run(folder, "prepare")
    return folder


def keep_rows(path: Path, count: int) -> None:
    """Leave the first rows of a file."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[: count + 1]
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def run(folder: Path, *words: str, **variables: str) -> None:
    """Run `yoyak`."""
    code = "import sys; from yoyak.cli import main; sys.exit(main())"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": "", **variables}
    subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, env=environment, check=True, stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip


def study(folder: Path, name: str, values: Mapping[str, Any], workers: int = 1, **variables: str) -> list[FrozenTrial]:
    """Run a study of the member bart, and return its trials."""
    YAML().dump({"kind": "hyperparameter", "member": "bart", **values}, folder / "studies" / f"{name}.yaml")
    run(folder, "study", "run", name, "--workers", str(workers), **variables)
    storage = open_storage(None, folder / "studies" / name / "journal.log")
    return optuna.load_study(study_name=name, storage=storage).get_trials()


def shrink(tree: dict[str, Any]) -> None:
    """Make a training a few seconds long."""
    bart = tree["members"]["bart"]
    del bart["checkpoint"]
    bart |= {"config": {**TINY}, "tokenizer": "bpe", "learning_rate": 0.0015, "num_epochs": 1, "batch_size": 16}
    bart |= {"evaluations": 2, "evaluation_dialogues": 16}
    tree["members"] = {"bart": bart}
    tree["ensemble"]["strategies"] = {}
    tree["registry"]["ensemble"] = None


def span(trials: list[FrozenTrial]) -> float:
    """Return the seconds from the first trial's start to the last one's end."""
    starts = [trial.datetime_start for trial in trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in trials if trial.datetime_complete]
    return (max(ends) - min(starts)).total_seconds()


def measure_workers(folder: Path) -> None:
    """Print the overhead of a trial, and how much faster two workers are than one."""
    project = make_project(folder, shrink)
    spans = {}
    for workers in (1, 2):
        values = {"trials": SMALL_TRIALS, "sampler": {"type": "random"}, "dimensions": RATE, "keep": 0}
        trials = study(project, f"workers{workers}", values, workers)
        spans[workers] = span(trials)
        if workers == 1:
            training = sum(trial.user_attrs["notes"]["training"]["seconds"] for trial in trials)
            print(
                f"overhead of a trial: {(spans[1] - training) / len(trials):.2f} s (training {training:.1f} s in all)"
            )
    print(f"{SMALL_TRIALS} trials: {spans[1]:.1f} s with 1 worker, {spans[2]:.1f} s with 2: {spans[1] / spans[2]:.2f}x")


def make_learnable(tree: dict[str, Any]) -> None:
    """Make a training as short as it can be while some values learn and others do not."""
    shrink(tree)
    sizes = {"d_model": 64, "encoder_ffn_dim": 128, "decoder_ffn_dim": 128}
    tree["tokenizers"] = {"bpe": {"type": "bpe", "vocab_size": 1200}}
    tree["members"]["bart"]["config"] |= sizes
    tree["members"]["bart"] |= {"num_epochs": 2, "evaluations": 4, "evaluation_dialogues": 24}


def replay(trials: Sequence[FrozenTrial], pruner: Pruner) -> tuple[float, int]:
    """Return the best value, and the evaluations that were needed for it, had the trials been pruned.

    A training gives the same curve whether others are pruned or not, and random values do not depend on them, so that
    the pruned study need not be trained once more.
    """
    pruned = optuna.create_study(direction="maximize", pruner=make_pruner(pruner))
    for recorded in trials:
        trial, stopped = pruned.ask(), False
        for step, value in sorted(recorded.intermediate_values.items()):
            trial.report(value, step)
            if trial.should_prune():
                stopped = True
                break
        pruned.tell(trial, None if stopped else recorded.value, state=TrialState.PRUNED if stopped else None)
    return pruned.best_value, count_evaluations(pruned.get_trials())


def count_evaluations(trials: Sequence[FrozenTrial]) -> int:
    """Return how often all trials together were evaluated: a trial's evaluations are as many steps apart."""
    return sum(len(trial.intermediate_values) for trial in trials)


def best_value(trials: Sequence[FrozenTrial]) -> float:
    """Return the best value."""
    return max(trial.value for trial in trials if trial.value is not None)


def measure_searches(folder: Path, figures: Sequence[str], seeds: int, trials: int) -> None:
    """Print what pruning saves, and what TPE finds compared with random values, for each seed and their medians."""
    project = make_project(folder, make_learnable)
    # Random values do not depend on earlier trials: parts of one study are as good as studies of their own.
    every = study(project, "random", {**RANDOM, "trials": seeds * trials, "keep": 0, "dimensions": SPACE}, workers=2)
    ended = [trial for trial in every if trial.state is TrialState.COMPLETE]
    parts = [ended[start : start + trials] for start in range(0, len(ended), trials)]
    random_best = [best_value(part) for part in parts]
    noise = statistics.stdev(random_best)
    print(f"random: best {describe(random_best)}, standard deviation {noise:.4f}, {trials} trials", flush=True)
    if "pruning" in figures:
        for name, pruner in PRUNERS.items():
            replayed = [replay(part, pruner) for part in parts]
            shares = [count / count_evaluations(part) for (_, count), part in zip(replayed, parts, strict=True)]
            best = describe([best for best, _ in replayed])
            print(f"pruned by {name}: best {best}; share of the steps {describe(shares)}", flush=True)
    if "sampler" in figures:

        def search(seed: int) -> float:
            values = {**TPE, "trials": trials, "seed": seed, "keep": 0, "dimensions": SPACE}
            # Two at once: each has one of the two cores, as each worker of the random study had.
            return best_value(study(project, f"tpe{seed}", values, OMP_NUM_THREADS="1"))

        with ThreadPoolExecutor(2) as pool:
            print(f"tpe: best {describe(list(pool.map(search, range(seeds))))}")


def describe(values: Sequence[float]) -> str:
    """Return the values, and their median."""
    return f"{', '.join(f'{value:.4f}' for value in values)} (median {statistics.median(values):.4f})"


def write_trials(url: str | None, journal: Path, seconds: float) -> int:
    """Run empty trials for some seconds, and return how many."""
    searched = optuna.load_study(
        study_name="empty", storage=open_storage(url, journal), sampler=optuna.samplers.RandomSampler()
    )
    deadline, count = time.monotonic() + seconds, 0
    while time.monotonic() < deadline:
        searched.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=1)
        count += 1
    return count


def measure_storages(folder: Path) -> None:
    """Print how many empty trials a second each storage takes from eight processes."""
    sys.path.insert(0, str(ROOT / "tests"))
    from mlflow_server import postgres_binaries, run_postgres

    def measure(name: str, url: str | None) -> None:
        journal = folder / "journal.log"
        optuna.create_study(study_name="empty", storage=open_storage(url, journal))
        with multiprocessing.get_context("spawn").Pool(WRITERS) as pool:
            counts = pool.starmap(write_trials, [(url, journal, SECONDS)] * WRITERS)
        print(f"{name}: {sum(counts) / SECONDS:.1f} trials/s from {WRITERS} processes")

    measure("journal", None)
    if postgres_binaries() is None:
        print("PostgreSQL is not installed")
        return
    with run_postgres() as postgres:
        measure("PostgreSQL", postgres.create_database("optuna"))


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="+", choices=["workers", "storages", "pruning", "sampler"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=10)
    arguments = parser.parse_args()
    searches = [figure for figure in arguments.figures if figure in ("pruning", "sampler")]
    for figure in arguments.figures:
        if figure in searches[1:]:
            continue
        with tempfile.TemporaryDirectory(prefix="yoyak-studies-") as name:
            folder = Path(name)
            match figure:
                case "workers":
                    measure_workers(folder)
                case "storages":
                    measure_storages(folder)
                case _:
                    measure_searches(folder, searches, arguments.seeds, arguments.trials)


if __name__ == "__main__":
    main()
