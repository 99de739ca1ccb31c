"""In INT8 a summary is the same alone and in any batch, to the last bit of its score."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from onnx_models import MODELS, VOCABULARY, save_model
from yoyak.data.records import Dialogue
from yoyak.decoding.onnx import decoder
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.onnx.search import Written
from yoyak.export.folder import export_model
from yoyak.models.spec import ModelSpec, save_spec
from yoyak.params import Generation
from yoyak.params.deploy import Export

ROOT = Path(__file__).parents[3]
CALIBRATION = [Dialogue(fname=str(size), dialogue="#Person1#: 네? " * size) for size in (1, 3, 6)]


def list_differing(summarizer: OnnxSummarizer, rows: list[list[int]], beams: int, batch_sizes: tuple[int, ...]) -> int:
    """Return how many rows are continued in another way, or with another score, in batches than alone.

    Batches hold rows of any length in any order, so that each has other neighbours and other padding.
    """
    generation = summarizer.generation.model_copy(update={"num_beams": beams, "num_return_sequences": beams})
    search = summarizer.search(generation)
    alone = [summarizer.write([row], search)[0] for row in rows]
    differing = set()
    for size in batch_sizes:
        order = np.random.default_rng(size).permutation(len(rows))
        for first in range(0, len(rows), size):
            batch = order[first : first + size]
            written: list[list[Written]] = summarizer.write([rows[row] for row in batch], search)
            differing |= {int(row) for row, texts in zip(batch, written, strict=True) if texts != alone[row]}
    return len(differing)


def draw_rows(count: int, longest: int) -> list[list[int]]:
    random = np.random.default_rng(count)
    return [random.integers(3, VOCABULARY, size).tolist() for size in random.integers(1, longest + 1, count)]


@pytest.mark.parametrize("activations", ["constant", "row"])
@pytest.mark.parametrize("kind", MODELS)
def test_random_weights(kind: str, activations: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save_model(kind, tmp_path / "model")
    export_model(source, tmp_path / "out", Export.model_validate({"activations": activations}), CALIBRATION)
    summarizer = OnnxSummarizer.load(tmp_path / "out", threads=1)
    # The rows of a batch reach the encoder in pieces, with other padding in each.
    monkeypatch.setattr(decoder, "MAX_ENCODER_TOKENS", 200)
    assert list_differing(summarizer, draw_rows(40, 60), 1, (3, 20)) == 0
    assert list_differing(summarizer, draw_rows(12, 40), 3, (6,)) == 0


@pytest.mark.slow
def test_a_thousand_dialogues(tmp_path: Path) -> None:
    export_model(save_model("bart", tmp_path / "model"), tmp_path / "out", Export(), CALIBRATION)
    assert list_differing(OnnxSummarizer.load(tmp_path / "out", threads=1), draw_rows(1000, 30), 1, (64,)) == 0


def test_a_scale_for_each_batch_depends_on_the_batch(tmp_path: Path) -> None:
    export_model(save_model("bart", tmp_path / "model"), tmp_path / "out", Export(activations="batch"))
    assert list_differing(OnnxSummarizer.load(tmp_path / "out", threads=1), draw_rows(20, 30), 1, (20,)) > 0


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_dialogues_that_join_others(kind: str, beams: int, tmp_path: Path) -> None:
    export_model(save_model(kind, tmp_path / "model"), tmp_path / "out", Export(), CALIBRATION)
    summarizer = OnnxSummarizer.load(tmp_path / "out", threads=1)
    settings = summarizer.generation.model_copy(update={"num_beams": beams, "num_return_sequences": 1})
    random = np.random.default_rng(1)
    texts = [f"#Person1#: {number} " + "네? " * int(random.integers(0, 30)) for number in range(30)]
    alone = {text: summarizer.summarize([text], generation=settings).texts[0] for text in texts}
    run, waiting = summarizer.open_run(settings, room=8), list(texts)
    written: dict[str, str] = {}
    while waiting or len(run):
        joining = [waiting.pop() for _ in range(min(len(waiting), 8 - len(run), int(random.integers(0, 4))))]
        if joining:
            run.add([run.read(text) for text in joining])
        if len(run):
            written |= {reading.dialogue: finished.summary for reading, finished in run.step()}
    assert written == alone


def pull(folder: Path, version: str, out: Path) -> Path:
    """Copy a folder that DVC keeps in this repository."""
    remote = ROOT / "dvc-remote/files/md5"
    digest = YAML(typ="safe").load(ROOT / version)["outs"][0]["md5"]
    for entry in json.loads((remote / digest[:2] / digest[2:]).read_text(encoding="utf-8")):
        path = Path(entry["relpath"])
        if folder in path.parents:
            (out / path.name).parent.mkdir(parents=True, exist_ok=True)
            (out / path.name).write_bytes((remote / entry["md5"][:2] / entry["md5"][2:]).read_bytes())
    return out


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_a_thousand_dialogues_with_trained_weights(kind: str, tmp_path: Path) -> None:
    model = pull(Path(f"ko-{kind}"), "pretrained.dvc", tmp_path / "model")
    generation = Generation(max_new_tokens=16, num_beams=1, num_return_sequences=1)
    save_spec(
        model,
        ModelSpec(member=kind, family="seq2seq", prefix="", separator="", max_input_tokens=256, generation=generation),
    )
    with (pull(Path(), "data.dvc", tmp_path / "data") / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [Dialogue(fname=row["fname"], dialogue=row["dialogue"]) for row in csv.DictReader(file)][:1016]
    export_model(model, tmp_path / "out", Export(), rows[1000:])
    summarizer = OnnxSummarizer.load(tmp_path / "out", threads=1)
    ids = summarizer.encode([row.dialogue for row in rows[:1000]]).input_ids
    assert list_differing(summarizer, ids, 1, (64,)) == 0
