"""The project's root, and every path that its pipeline reads and writes, relative to it."""

from __future__ import annotations

import os
from pathlib import Path

MARKERS = ("dvc.yaml", "params.yaml")

TRAIN, DEV, TEST, GATE = "train", "dev", "test", "gate"
"""The splits; further test sets may have any name. Models are selected on dev and compared on test. Gate is for nothing
but the decision whether a new model replaces the champion, so that nobody has selected anything on it before."""

PREPARED = Path("prepared")
TRAIN_SPLIT = PREPARED / f"{TRAIN}.jsonl"
EVAL_SPLITS = PREPARED / "eval"
"""A folder with a file for each split but train: dev, test, gate if there is one, and any further test sets."""
DEV_SPLIT = EVAL_SPLITS / f"{DEV}.jsonl"
FACTS = PREPARED / "facts.json"
"""What summaries have to state, where the data say so."""
MASKS = PREPARED / "masks.txt"
TOKENIZERS = PREPARED / "tokenizers"
PREPARE_REPORT = PREPARED / "report.json"

PRETRAINED = Path("pretrained")
"""Local checkpoints that members start from."""
PROMPTS = Path("prompts")
"""Templates of what chat endpoints are asked."""
BASES = Path("bases")
BASE_TOKENIZER = "tokenizer"
"""Folder of a member's own tokenizer, in that of its base."""
CHECKED = BASES / "checked.txt"
"""Written when all members have passed `yoyak check`; every training waits for it."""
MODELS = Path("models")
PREDICTIONS = Path("predictions")
CANDIDATE_SCORES = Path("candidate_scores")
"""A folder for each member: how likely it finds every member's candidates."""
ENSEMBLES = Path("ensembles")
ENSEMBLES_README = ENSEMBLES / "README.md"
EVALUATION = Path("evaluation")
FACT_ACCURACY = EVALUATION / "facts.json"
CASES = Path("cases")
"""The project's own behaviour tests."""
CASE_DIALOGUES = PREPARED / "cases.jsonl"
"""The dialogues of the behaviour tests that members summarize."""
BEHAVIOUR = Path("behaviour")
RECEIPTS = Path("receipts")
TRAINING = Path("training")
METRICS = Path("metrics")
SCORES = METRICS / "scores"
"""A file for each system: its headline scores."""
FACT_METRICS = METRICS / "facts"
"""A file for each system: the share of its summaries that have every fact right."""
CASE_METRICS = METRICS / "behaviour"
"""A file for each member: the share of each file of cases whose summaries fail no check."""
PLOTS = Path("plots")
STUDIES = Path("studies")
"""A file and a folder for each study."""
REGISTERED = Path("registry", "registered.json")
REPORT = Path("report")
EXPORTS = Path("exports")
BENCH = Path("bench")
BENCH_METRICS = METRICS / "bench.json"
CHECKPOINTS = Path("checkpoints")
"""Checkpoints that an interrupted training resumes from."""
ANSWERS = Path(".yoyak", "answers.db")
"""Every answer of a chat endpoint that was paid for, and what it cost."""
REWRITTEN = Path(".yoyak", "rewritten.db")
"""Every turn that a model has rewritten for augmentation."""
LIKELIHOODS = Path(".yoyak", "likelihoods.db")
"""Every log-likelihood that a member has computed of a candidate."""
UNSENT = Path(".yoyak", "unsent")
"""A folder for each MLflow run that has unsent data."""
STORE_LOCK = Path(".yoyak", "store.lock")
"""Held while a process of this project writes to an MLflow store on a server; SQLite's lock is beside its file."""
REGISTRY_MEMORY = Path(".yoyak", "registry.json")
"""How MLflow's SQLite file looked when the registry was last known to have everything."""
LOGS = Path("logs")
ERRORS = Path("errors")
"""The traceback of each member's training that failed last."""
LOG = LOGS / "yoyak.log"
"""Tracebacks of errors."""
SPARK_LOG = LOGS / "spark.log"
"""What Spark and its processes say while `yoyak summarize --engine spark` runs."""
TENSORBOARD = LOGS / "tensorboard"
"""A folder for each member whose curves TensorBoard shows, with one for each training."""
DVC_LOCK = Path("dvc.lock")
REQUIREMENTS = Path("requirements.lock")


def split_file(split: str) -> Path:
    """Return the file of a prepared split."""
    return TRAIN_SPLIT if split == TRAIN else EVAL_SPLITS / f"{split}.jsonl"


def eval_splits() -> dict[str, Path]:
    """Return the files of all prepared splits but train, by name."""
    return {path.stem: path for path in sorted(EVAL_SPLITS.glob("*.jsonl"))}


def base_folder(member: str) -> Path:
    """Return the folder with what a member's training starts from."""
    return BASES / member


def model_folder(member: str) -> Path:
    """Return the folder of a trained member."""
    return MODELS / member


def predictions_folder(member: str) -> Path:
    """Return the folder of a member's candidates, a file for each split."""
    return PREDICTIONS / member


def candidate_scores_folder(member: str) -> Path:
    """Return the folder of a member's log-likelihoods of all candidates, a file for each split."""
    return CANDIDATE_SCORES / member


def case_predictions_file(member: str) -> Path:
    """Return a member's summaries of `CASE_DIALOGUES`; in a folder, since a split may have any name."""
    return predictions_folder(member) / "behaviour" / CASE_DIALOGUES.name


def ensemble_folder(strategy: str) -> Path:
    """Return the folder of a strategy's summaries, a file for each split."""
    return ENSEMBLES / strategy


def soup_folder(strategy: str) -> Path:
    """Return the folder of the model that a soup is."""
    return ensemble_folder(strategy) / "model"


def behaviour_file(member: str) -> Path:
    """Return the results of a member's behaviour tests."""
    return BEHAVIOUR / f"{member}.json"


def export_folder(model: str) -> Path:
    """Return the folder of an exported model."""
    return EXPORTS / model


def receipt_file(member: str) -> Path:
    """Return the receipt of a member's training."""
    return RECEIPTS / f"{member}.json"


def training_file(member: str) -> Path:
    """Return what was measured of a member's training; `training_metrics_file` has the few figures that DVC shows."""
    return TRAINING / f"{member}.json"


def training_metrics_file(member: str) -> Path:
    """Return the headline figures of a member's training."""
    return METRICS / f"train_{member}.json"


def training_curves_file(member: str) -> Path:
    """Return the curves of a member's training."""
    return PLOTS / f"curves_{member}.csv"


def error_file(member: str) -> Path:
    """Return the log of a member's training if it failed."""
    return ERRORS / f"{member}.log"


def checkpoints_folder(member: str) -> Path:
    """Return the folder of the checkpoints of a member's training, which are deleted when it has ended."""
    return CHECKPOINTS / member


_EXPERIMENTS = (".dvc", "tmp", "exps")


def project_root(start: str | os.PathLike[str] | None = None) -> Path:
    """Return the nearest folder at or above ``start`` (default: here) with dvc.yaml or params.yaml, else ``start``.

    Queued and temporary DVC experiments run in a copy below ``.dvc/tmp/exps`` that is removed afterwards; there the
    answer is the project that they belong to, so that their runs stay.
    """
    here = Path(start or ".").resolve()
    root = next((folder for folder in (here, *here.parents) if any((folder / name).exists() for name in MARKERS)), here)
    parts = root.parts
    for index in range(len(parts) - len(_EXPERIMENTS)):
        if parts[index : index + len(_EXPERIMENTS)] == _EXPERIMENTS:
            return Path(*parts[:index])
    return root
