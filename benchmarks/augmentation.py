"""Measure what rows that augmentation adds to train are worth: an ablation with as many updates in all trials.

    dvc pull pretrained.dvc
    python benchmarks/augmentation.py                             # the sample's BART, fine-tuned on 100 dialogues
    python benchmarks/augmentation.py --scratch --rows 300 --visits 6000 --components augmentation noise renaming

Trials are those of `yoyak study run` in a project of its own in a temporary folder, and are compared over seeds. The
rows that are added are the same for all seeds.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from yoyak.data.augmenting.run import augment_train
from yoyak.data.preparing import prepare_splits
from yoyak.data.samples import write_corpus
from yoyak.params import Data
from yoyak.params.augmentation import Augmentation
from yoyak.project import TRAIN

ROOT = Path(__file__).parents[1]
NOISE, VARIATION = ("aeda", "spacing", "typos", "fillers"), ("turn_drop", "endings", "particles")
METHODS = (*NOISE, *VARIATION, "renaming")
COMPONENTS = {"augmentation": METHODS, "noise": NOISE, "variation": VARIATION, "renaming": ("renaming",)}
TINY = {"model_type": "bart", "d_model": 64, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 256,
        "decoder_ffn_dim": 256, "encoder_attention_heads": 4, "decoder_attention_heads": 4,
        "max_position_embeddings": 512, "dropout": 0.1}  # fmt: skip
SCRATCH = {"config": TINY, "tokenizer": "bpe", "max_input_tokens": 256, "max_target_tokens": 48, "learning_rate": 0.002}
PRETRAINED = {"checkpoint": "pretrained/ko-bart", "max_input_tokens": 320, "max_target_tokens": 64,
              "learning_rate": 0.0003}  # fmt: skip
COMMON = {"family": "seq2seq", "batch_size": 16, "warmup_ratio": 0.1, "evaluations": 1, "early_stopping_patience": None}
SIZES = {"dev": 200, "test": 50, "gate": 100}


def main() -> None:
    """Run the study and print its effects."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", action="store_true", help="train a BART of 64 dimensions from scratch")
    parser.add_argument("--rows", type=int, default=100, help="dialogues in train")
    parser.add_argument("--visits", type=int, default=1280, help="rows that a training reads in all epochs together")
    parser.add_argument("--share", type=float, default=0.25, help="share of each method")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--components", nargs="+", choices=list(COMPONENTS), default=["augmentation"])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_corpus(folder / "data", train=options.rows, seed=1, **SIZES)
        data = write_project(folder, {**COMMON, **(SCRATCH if options.scratch else PRETRAINED)}, options)
        write_study(folder, data, options)
        run(folder, "prepare")
        run(folder, "study", "run", "study", "--workers", str(options.workers))
        summary = json.loads((folder / "studies/study/summary.json").read_text(encoding="utf-8"))
    for effect in summary["effects"]:
        print(json.dumps(effect))


def write_project(folder: Path, member: dict[str, Any], options: argparse.Namespace) -> Data:
    """Write params.yaml with one member, and return its section ``data``."""
    yaml = YAML()
    tree = yaml.load(ROOT / "params.yaml")
    del tree["data"]["files"]["handwritten"]
    tree["tokenizers"] = {"bpe": {"type": "bpe", "vocab_size": 1500}}
    dialogues = SIZES["dev"] if options.scratch else 100
    tree["members"] = {"small": {**member, "num_epochs": 1, "evaluation_dialogues": dialogues}}
    tree["ensemble"] = {"strategies": {}}
    tree["registry"]["ensemble"] = None
    tree["scoring"]["granularities"] = ["morpheme"]
    yaml.dump(tree, folder / "params.yaml")
    shutil.copytree(ROOT / "cases", folder / "cases")
    if not options.scratch:
        shutil.copytree(ROOT / "pretrained", folder / "pretrained")
    return Data.model_validate({**tree["data"], "folder": str(folder / "data")})


def write_study(folder: Path, data: Data, options: argparse.Namespace) -> None:
    """Write a study in which trials without a component have as many more epochs as they have fewer rows."""
    splits = prepare_splits(data).splits
    settings = Augmentation.model_validate({name: {"share": options.share} for name in METHODS})
    report = augment_train(splits, settings)[1]["methods"]
    total = len(splits[TRAIN]) + sum(method["added"] for method in report.values())

    def without(names: Sequence[str], share: float) -> dict[str, Any]:
        rows = total - (0 if share else sum(report[name]["added"] for name in names))
        epochs = {"members.small.num_epochs": round(options.visits / rows, 3)}
        return {**{f"augmentation.{name}.share": share for name in names}, **epochs}

    study = {
        "kind": "ablation",
        "member": "small",
        "seeds": list(range(1, options.seeds + 1)),
        "values": without(METHODS, options.share),
        "components": {name: without(COMPONENTS[name], 0.0) for name in options.components},
    }
    (folder / "studies").mkdir()
    YAML().dump(study, folder / "studies/study.yaml")


def run(folder: Path, *words: str) -> None:
    """Run `yoyak`."""
    code = "import sys; from yoyak.cli import main; sys.exit(main())"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": ""}
    subprocess.run([sys.executable, "-c", code, *words], cwd=folder, env=environment, check=True)


if __name__ == "__main__":
    main()
