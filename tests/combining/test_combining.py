"""`yoyak combine MODEL…`: any models over any file, one after another, whatever becomes of some of them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from mlflow_helpers import DIALOGUE, make_bart
from yoyak.combining.jobs import ROWS
from yoyak.combining.run import LOCK
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.combine import Combiner, combine
from yoyak.ensemble.pool import Row
from yoyak.ensemble.weights import equal
from yoyak.export.folder import export_model
from yoyak.params import Generation
from yoyak.params.deploy import Export
from yoyak.params.ensemble import Vote

YOYAK = [sys.executable, "-c", "import sys; from yoyak.cli import main; sys.exit(main())"]
PARAMS = """
members: {a: {family: seq2seq, config: {model_type: bart}, tokenizer: bpe, learning_rate: 1e-3}}
tokenizers: {bpe: {type: bpe, vocab_size: 300}}
generation: {max_new_tokens: 6, num_beams: 2, num_return_sequences: 2}
scoring: {bootstrap_samples: 100}
"""
IDS = tuple(f"d{number}" for number in range(5))
DIALOGUES = tuple(f"{DIALOGUE} {fname}" for fname in IDS)
SETTINGS = Generation(max_new_tokens=6, num_beams=2, num_return_sequences=2)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate("ab"):
        make_bart(folder / name, seed=seed)
    (folder / "broken").mkdir()
    shutil.copytree(folder / "a", folder / "broken", dirs_exist_ok=True)
    (folder / "broken/model.safetensors").write_bytes(b"no weights")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text(PARAMS, encoding="utf-8")
    with (tmp_path / "in.csv").open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["fname", "dialogue", "summary"])
        writer.writerows(
            (f"d{number}", f"{DIALOGUE} {number}", "두 사람은 네 시에 만나기로 한다.") for number in range(5)
        )
    return tmp_path


def run_combine(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_", "YOYAK_"))}
    command = [*YOYAK, "combine", *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def read(path: Path) -> list[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(row["fname"], row["summary"]) for row in csv.DictReader(file)]


def metadata(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "ensemble_results").glob("ensemble_metadata_*.json")
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_models_are_combined_and_broken_ones_are_listed(folder: Path, models: Path) -> None:
    named = [models / "a", models / "broken", models / "b", models / "nowhere"]
    completed = run_combine(folder, *named, "--input", "in.csv", "--strategy", "mbr")
    assert completed.returncode == 0, completed.stderr
    out = folder / "ensemble_results"
    info = metadata(folder)
    stamp = info["output"].removeprefix("ensemble_output_").removesuffix(".csv")
    assert {path.name for path in out.iterdir()} == {
        f"ensemble_output_{stamp}.csv",
        f"ensemble_metadata_{stamp}.json",
        f"individual_model_1_{stamp}.csv",
        f"individual_model_2_{stamp}.csv",
    }
    assert completed.stdout == f"ensemble_results/ensemble_output_{stamp}.csv\n"
    assert info["combiner"]["members"] == ["a", "b"]
    assert [model["uri"] for model in info["models"]] == [str(models / "a"), str(models / "b")]
    assert [entry["model"] for entry in info["errors"]] == [str(models / "nowhere"), "broken"]
    assert all(entry["error"] in completed.stderr for entry in info["errors"])
    assert info["combiner"]["utility"].endswith("ROUGE-L by morpheme")
    assert info["scores"]["dialogues"] == 5
    assert set(info["scores"]["systems"]) == {"ensemble", "a", "b"}
    assert all(model["peak_memory_mb"] > 100 and model["seconds"] > 0 for model in info["models"])

    for number, name in enumerate("ab", 1):
        single = TorchSummarizer.load(models / name, "cpu").summarize(DIALOGUES, generation=SETTINGS).candidates
        expected = [(fname, candidates[0].text) for fname, candidates in zip(IDS, single, strict=True)]
        assert read(out / f"individual_model_{number}_{stamp}.csv") == expected
    assert [fname for fname, _ in read(out / f"ensemble_output_{stamp}.csv")] == list(IDS)


@pytest.mark.slow
def test_all_at_once_gives_the_same(folder: Path, models: Path) -> None:
    named = [models / name for name in "ab"]
    completed = run_combine(folder, *named, "--input", "in.csv", "--strategy", "vote", "--parallel")
    assert completed.returncode == 0, completed.stderr
    written = {
        path.name: TorchSummarizer.load(path, "cpu").summarize(DIALOGUES, generation=SETTINGS).candidates
        for path in named
    }
    rows = [
        Row(fname, "", {name: candidates[index] for name, candidates in written.items()})
        for index, fname in enumerate(IDS)
    ]
    combiner = Combiner(strategy=Vote(type="vote"), granularity="morpheme", weights=equal(["a", "b"]))
    expected = [outcome.text for outcome in combine(combiner, rows)]
    assert read(folder / completed.stdout.strip()) == list(zip(IDS, expected, strict=True))


@pytest.mark.slow
def test_an_exported_model_is_combined_with_one_in_torch(folder: Path, models: Path) -> None:
    export_model(models / "b", folder / "exported", Export(precision="fp32"))
    completed = run_combine(folder, models / "a", folder / "exported", "--input", "in.csv", "--strategy", "vote")
    assert completed.returncode == 0, completed.stderr
    assert metadata(folder)["combiner"]["members"] == ["a", "exported"]
    expected = TorchSummarizer.load(models / "b", "cpu").summarize(DIALOGUES, generation=SETTINGS)
    [written] = (folder / "ensemble_results").glob("individual_model_2_*.csv")
    assert read(written) == list(zip(IDS, expected.texts, strict=True))


@pytest.mark.slow
def test_an_interrupted_run_resumes_after_the_finished_models(folder: Path, models: Path) -> None:
    named = [str(models / name) for name in "ab"]
    # A shell in the background lets what it starts ignore Ctrl-C.
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{code}; from yoyak.cli import main; sys.exit(main())",
         "combine", *named, "--input", "in.csv"],
        cwd=folder, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    partial = folder / "ensemble_results/.partial"
    deadline = time.monotonic() + 120
    while not [path for path in partial.glob("*.jsonl") if path.name != ROWS] and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130, stderr
    assert not list((folder / "ensemble_results").glob("*.csv"))

    completed = run_combine(folder, *named, "--input", "in.csv")
    assert completed.returncode == 0, completed.stderr
    assert [bool(model.get("resumed")) for model in metadata(folder)["models"]] == [True, False]
    assert not partial.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--input", "in.csv"], "no model"),
        (["a", "--input", "in.csv", "--strategy", "mbrr"], "no 'mbrr' (did you mean 'mbr'?)"),
        (["a", "b", "--input", "in.csv", "--weights", "1"], "1 numbers for 2 models"),
        (["a", "--input", "gone.csv"], "gone.csv"),
        ([], "--all"),
        (["--all", "--input", "in.csv"], "no registered member"),
        (["a", "--input", "in.csv", "--output", "in.csv"], "--output in.csv"),
        (["a", "--input", "in.csv", "--strategy", "soft"], "soft"),
    ],
)
def test_impossible_requests_give_one_sentence(folder: Path, arguments: list[str], message: str) -> None:
    completed = run_combine(folder, *arguments)
    assert completed.returncode == 1
    last = completed.stderr.strip().splitlines()[-1]
    assert last.startswith("yoyak combine: ")
    assert message in last


@pytest.mark.slow
def test_too_few_usable_models_is_an_error_unless_one_is_asked_for(folder: Path, models: Path) -> None:
    named = [models / "a", models / "nowhere", "--input", "in.csv"]
    completed = run_combine(folder, *named)
    assert completed.returncode == 1
    assert "only a can be used" in completed.stderr
    completed = run_combine(folder, *named, "--min-members", 1)
    assert completed.returncode == 0, completed.stderr
    info = metadata(folder)
    assert info["combiner"]["pass_through"] is True
    files = sorted((folder / "ensemble_results").glob("*.csv"))
    assert read(files[0]) == read(files[1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategy", "stack"], "not for a, b"),
        (["--strategy", "stack", "--weights", "1", "1"], "--weights"),
        (["--strategy", "weighted"], "dev score of a "),
        (["--strategy", "vote", "--weights", "nan", "1"], "weights must be finite"),
        (["--strategy", "vote", "--weights", "0", "0"], "weights must be finite"),
    ],
)
def test_arguments_are_checked_before_a_model_runs(folder: Path, models: Path, arguments: list, message: str) -> None:
    completed = run_combine(folder, models / "a", models / "b", "--input", "in.csv", *arguments)
    assert completed.returncode == 1
    assert message in completed.stderr
    assert "summarizing" not in completed.stderr
    assert not (folder / "ensemble_results").exists()


def test_a_model_named_twice_is_used_once(folder: Path, models: Path) -> None:
    named = [models / "a", f"{models / 'a'}/", models / "." / "a"]
    completed = run_combine(folder, *named, "--input", "in.csv")
    assert completed.returncode == 1
    assert completed.stderr.count("same model as a") == 2
    assert "only a can be used" in completed.stderr


def test_a_second_command_cannot_use_the_folder(folder: Path, models: Path) -> None:
    out = folder / "ensemble_results"
    out.mkdir()
    with FileLock(out / LOCK):
        completed = run_combine(folder, models / "a", models / "b", "--input", "in.csv")
    assert completed.returncode == 1
    assert "another `yoyak combine`" in completed.stderr
