"""A small project in a folder of its own, as a clone is: this dvc.yaml and code, little data, tiny models."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from preloaded import preloaded
from yoyak.data.samples import write_corpus

ROOT = Path(__file__).parents[2]
SIZES = {
    "bart": {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
             "encoder_attention_heads": 2, "decoder_attention_heads": 2},
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2},
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2},
}  # fmt: skip


def environment() -> dict[str, str]:
    """The environment of a person's shell: this Python's programs, and none of the variables that change a run."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_", "YOYAK_"))}
    return {
        **kept,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept['PATH']}",
        "HF_HUB_OFFLINE": "1",
        "GIT_AUTHOR_NAME": "Tester",
        "GIT_AUTHOR_EMAIL": "tester@example.com",
        "GIT_COMMITTER_NAME": "Tester",
        "GIT_COMMITTER_EMAIL": "tester@example.com",
    }


def shell(folder: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder and return it with its output, whatever its exit code."""
    return subprocess.run(
        command,
        cwd=folder,
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )


def succeed(folder: Path, *command: str, **variables: str) -> str:
    """Run a command that must succeed and return what it printed, on both streams."""
    done = shell(folder, *command, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change params.yaml."""
    yaml = YAML()
    tree = yaml.load((folder / "params.yaml").read_text())
    change(tree)
    with (folder / "params.yaml").open("w") as out:
        yaml.dump(tree, out)


def shrink(tree: dict[str, Any]) -> None:
    """Make every model tiny, without a checkpoint, and every training two updates long."""
    for member in tree["members"].values():
        if member.get("checkpoint", "").startswith("pretrained/"):
            kind = member.pop("checkpoint").rpartition("ko-")[2]
            member |= {"config": {"model_type": kind}, "tokenizer": "unigram" if kind == "t5" else "bpe"}
            tree["tokenizers"].setdefault(member["tokenizer"], {"type": member["tokenizer"]})
    tree["tokenizers"] = {name: {**value, "vocab_size": 1500} for name, value in tree["tokenizers"].items()}
    for member in tree["members"].values():
        if "config" in member:
            member["config"] |= SIZES[member["config"]["model_type"]]
        member |= {"num_epochs": 1, "batch_size": 16, "evaluations": 2, "evaluation_dialogues": 4}
        member |= {"max_input_tokens": 96, "max_target_tokens": 12}
    tree["generation"] |= {"num_beams": 2, "num_return_sequences": 2, "max_new_tokens": 8}
    tree["scoring"] |= {"bootstrap_samples": 100, "processes": 1, "samples": 4}
    tree["bench"] |= {"batch_sizes": [1, 2], "beams": [2], "dialogues": 4, "repeats": 1}
    tree["bench"]["variants"] = ["torch_fp32", "onnx_fp32"]
    tree["report"] |= {"dialogues": 4}


def score_syllables(tree: dict[str, Any]) -> None:
    """Do without Kiwi, which takes three seconds to load in each stage. Presets are run with it."""
    tree["scoring"]["granularities"] = ["syllable"]
    tree["ensemble"]["granularity"] = "syllable"


def make_project(folder: Path) -> Path:
    """Fill a folder with what a clone has, the default params shrunk, and 32 dialogues for data."""
    shutil.copytree(_template(), folder, symlinks=True, dirs_exist_ok=True)
    return folder


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="yoyak-project-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("dvc.yaml", "params.yaml", "requirements.lock", "MLproject", ".gitignore", ".dvcignore"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "export").mkdir()
    shutil.copy(ROOT / "export/dvc.yaml", folder / "export/dvc.yaml")
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("cases", "pretrained", "prompts"):
        (folder / name).mkdir()
        (folder / name / ".gitkeep").touch()
    write_corpus(folder / "data", train=32, dev=8, test=10, gate=8, seed=1)
    shutil.copy(folder / "data/dev.csv", folder / "data/handwritten.csv")
    edit(folder, shrink)
    edit(folder, score_syllables)
    add = ("dvc", "add", "-q", "data", "pretrained")
    for command in (("git", "init", "-q", "-b", "main"), ("dvc", "init", "-q"), add):
        succeed(folder, *command)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    succeed(folder, "git", "add", "-A")
    succeed(folder, "git", "commit", "-q", "-m", "start")
    return folder


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A project in which nothing has run."""
    return make_project(tmp_path)


@pytest.fixture(scope="session")
def fast_path() -> Iterator[str]:
    """A PATH with a `yoyak` that starts at once, for pipelines of many stages."""
    with preloaded(environment()) as path:
        yield path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, fast_path: str) -> Path:
    """A project in which `dvc repro` has run; tests that change it work on a copy."""
    folder = make_project(tmp_path_factory.mktemp("finished"))
    succeed(folder, "dvc", "repro", PATH=fast_path)
    succeed(folder, "git", "add", "-A")
    succeed(folder, "git", "commit", "-q", "-m", "results")
    return folder
