"""An exported model is used as any other, in a process that has neither torch nor transformers."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from mlflow_helpers import DIALOGUE
from onnx_models import save_model
from yoyak.decoding.onnx.options import Sampling, Search
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.onnx.scores import log_softmax, top_k, warp_scores
from yoyak.decoding.onnx.search import search
from yoyak.decoding.torch import TorchSummarizer
from yoyak.errors import UserError
from yoyak.export.folder import export_model
from yoyak.params import Generation
from yoyak.params.deploy import Export

DIALOGUES = [DIALOGUE, "#Person1#: 네?", DIALOGUE * 3, "#Person2#: 내일 봐요."]


@pytest.fixture(scope="module", params=["bart", "gpt2"])
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model as `yoyak train` saves it, and its export in fp32."""
    folder = tmp_path_factory.mktemp(request.param)
    source = save_model(request.param, folder / "model")
    export_model(source, folder / "export", Export(precision="fp32"))
    return source, folder / "export"


@pytest.mark.parametrize("beams", [1, 3])
def test_it_summarizes_like_torch(folders: tuple[Path, Path], beams: int) -> None:
    source, exported = folders
    params = Generation(
        max_new_tokens=10, num_beams=beams, num_return_sequences=beams, length_penalty=0.8, batch_size=3
    )
    in_torch, in_onnx = TorchSummarizer.load(source, "cpu"), OnnxSummarizer.load(exported)
    expected, actual = in_torch.summarize(DIALOGUES, generation=params), in_onnx.summarize(DIALOGUES, generation=params)
    assert actual.truncated > 0
    assert (actual.cut, actual.tokens) == (expected.cut, expected.tokens)
    assert [[candidate.text for candidate in row] for row in actual.candidates] == [
        [candidate.text for candidate in row] for row in expected.candidates
    ]
    assert [candidate.score for row in actual.candidates for candidate in row] == pytest.approx(
        [candidate.score for row in expected.candidates for candidate in row], rel=1e-3, abs=1e-4
    )


CODE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "optimum", "onnx"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocked())
from yoyak.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_summarize_runs_without_torch_and_transformers(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source, exported = folders
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["fname", "dialogue"], *([str(n), text] for n, text in enumerate(DIALOGUES))])
    # Moved: it needs nothing but what is in it.
    shutil.copytree(exported, tmp_path / "elsewhere/model")
    arguments = ["summarize", "elsewhere/model", "--input", "rows.csv", "--output", "out.csv"]
    completed = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        summaries = [row["summary"] for row in csv.DictReader(file)]
    assert summaries == TorchSummarizer.load(source, "cpu").summarize(DIALOGUES).texts


def test_draws_depend_on_the_seed_and_not_on_the_batch(folders: tuple[Path, Path]) -> None:
    summarizer = OnnxSummarizer.load(folders[1], threads=1)

    def draw(seed: int, batch: int) -> list[list[str]]:
        settings = Generation(max_new_tokens=10, num_beams=1, num_return_sequences=1, batch_size=batch)
        summaries = summarizer.summarize(DIALOGUES, generation=settings, sampling=Sampling(seed=seed, temperature=3.0))
        return [[candidate.text for candidate in row] for row in summaries.candidates]

    assert draw(1, 1) == draw(1, 4)
    assert draw(1, 4) != draw(2, 4)


def test_several_draws_of_one_dialogue(folders: tuple[Path, Path]) -> None:
    summarizer = OnnxSummarizer.load(folders[1], threads=1)
    search = Search(
        max_new_tokens=6, eos_token_id=2, pad_token_id=1, num_return_sequences=5, sampling=Sampling(temperature=3.0)
    )
    (texts,) = summarizer.write([[10, 11, 12]], search)
    assert len({tuple(text.tokens) for text in texts}) > 1
    assert [text.score for text in texts] == sorted((text.score for text in texts), reverse=True)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(temperature=0.7, top_k=5), Sampling(top_p=0.8)])
def test_what_is_drawn_from_is_transformers_distribution(sampling: Sampling) -> None:
    scores = np.random.default_rng(0).normal(size=(20, 50)).astype(np.float32) * 3
    expected = torch.tensor(scores)
    if sampling.temperature != 1.0:
        expected = TemperatureLogitsWarper(sampling.temperature)(None, expected)
    if sampling.top_k:
        expected = TopKLogitsWarper(sampling.top_k)(None, expected)
    if sampling.top_p < 1.0:
        expected = TopPLogitsWarper(sampling.top_p)(None, expected)
    assert np.allclose(warp_scores(sampling, scores), expected.numpy())


def test_draws_have_the_models_frequencies() -> None:
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], dtype=np.float32))

    class Fixed:
        def first(self) -> np.ndarray:
            return logits

        def advance(self, tokens: np.ndarray, source: np.ndarray | None) -> np.ndarray:
            return np.repeat(logits, len(tokens), axis=0)

        def keep(self, dialogues: np.ndarray) -> None:
            raise AssertionError("no text has ended: it has no end token")

    settings = Search(
        max_new_tokens=5, eos_token_id=9, pad_token_id=0, num_return_sequences=800, sampling=Sampling(seed=4)
    )  # fmt: skip
    (texts,) = search(Fixed(), np.array([[0]]), settings)
    counts = np.bincount([token for text in texts for token in text.tokens], minlength=4) / 4000
    assert counts == pytest.approx([0.5, 0.3, 0.15, 0.05], abs=0.025)


def test_the_highest_are_found_in_wide_rows() -> None:
    values = np.random.default_rng(1).normal(size=(3, 10_007)).astype(np.float32)
    values[:, -1] = 9.0
    actual, indices = top_k(values, 8)
    expected, expected_indices = torch.topk(torch.tensor(values), 8)
    assert np.array_equal(actual, expected.numpy()) and np.array_equal(indices, expected_indices.numpy())
    assert np.allclose(log_softmax(values), torch.tensor(values).log_softmax(-1).numpy(), atol=1e-5)


def test_errors_are_sentences(folders: tuple[Path, Path], tmp_path: Path) -> None:
    source, exported = folders
    with pytest.raises(UserError, match=r"onnx\.json"):
        OnnxSummarizer.load(source)
    with pytest.raises(UserError, match="'cuda'"):
        OnnxSummarizer.load(exported, "cuda")
    with pytest.raises(UserError, match="has 128: lower max_new_tokens"):
        OnnxSummarizer.load(exported).summarize(
            DIALOGUES, generation=Generation(max_new_tokens=200, num_beams=1, num_return_sequences=1)
        )
    broken = tmp_path / "broken"
    shutil.copytree(exported, broken)
    (broken / "weights.bin").write_bytes(b"")
    with pytest.raises(UserError, match="is damaged"):
        OnnxSummarizer.load(broken)
    (broken / "onnx.json").write_text(json.dumps({"precision": "int8"}))
    with pytest.raises(UserError, match="is damaged"):
        OnnxSummarizer.load(broken)


def test_an_empty_list_is_not_an_error(folders: tuple[Path, Path]) -> None:
    source, exported = folders
    for summarizer in (TorchSummarizer.load(source, "cpu"), OnnxSummarizer.load(exported)):
        assert summarizer.summarize([]).candidates == []
