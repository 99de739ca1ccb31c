"""Constant scales: what is observed, which scale is chosen, and what that loses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from mlflow_helpers import DIALOGUE
from onnx_models import save_model
from yoyak.data.records import Dialogue
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.errors import UserError
from yoyak.export.calibration import MAX_ROWS, Observed, choose_scale, spread
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export
from yoyak.stages import convert

ROOT = Path(__file__).parents[2]
DIALOGUES = [Dialogue(fname=str(number), dialogue=DIALOGUE * (1 + number % 3)) for number in range(6)]
WEIGHT = np.random.default_rng(7).standard_normal((64, 32)).astype(np.float32)


def observe(*arrays: np.ndarray) -> Observed:
    observed, random = Observed.of_features(arrays[0].shape[-1]), np.random.default_rng(0)
    for array in arrays:
        observed.add(array.astype(np.float32), random)
    return observed


def test_bounds_are_of_all_rows_and_the_sample_is_of_any() -> None:
    rows = np.random.default_rng(1).uniform(1, 2, (MAX_ROWS * 3, 4)).astype(np.float32)
    rows[-1] = [-5, 1, 1, 9]
    observed = observe(*rows.reshape(6, 2, -1, 4))
    assert observed.low.tolist() == [-5, 0, 0, 0] and observed.high[3] == 9
    assert len(observed.sample) == MAX_ROWS and not np.array_equal(observed.sample, rows[:MAX_ROWS])
    assert len(observe(rows[:5]).sample) == 5


def test_features_of_like_size_share_one_scale() -> None:
    scale = choose_scale(observe(np.random.default_rng(2).standard_normal((300, 64)) + 0.5), WEIGHT)
    assert scale is not None and scale.divisors is None
    assert -5 < scale.low < 0 < scale.high < 6


def test_large_features_move_into_the_weights() -> None:
    rows = np.random.default_rng(3).standard_normal((300, 64))
    rows[:, 5] *= 60
    scale = choose_scale(observe(rows), WEIGHT / np.maximum(1, 50 * (np.arange(64) == 5))[:, None])
    assert scale is not None and scale.divisors is not None
    assert scale.divisors.argmax() == 5
    assert scale.high < 30


def test_rows_of_unlike_size_keep_scales_of_their_own() -> None:
    rows = np.random.default_rng(4).standard_normal((300, 64)) * np.geomspace(0.001, 1, 300)[:, None]
    assert choose_scale(observe(rows), WEIGHT) is None


def test_clipping_rare_values_loses_less() -> None:
    rows = np.random.default_rng(6).laplace(size=(300, 64))
    scale = choose_scale(observe(rows), WEIGHT)
    assert scale is not None and scale.high < 0.95 * rows.max()


def test_dialogues_are_taken_at_even_intervals() -> None:
    assert [row.fname for row in spread(DIALOGUES, 3)] == ["0", "2", "4"]
    assert spread(DIALOGUES, 9) == DIALOGUES


@pytest.mark.parametrize("kind", ["bart", "t5", "gpt2"])
def test_constant_scales_are_computed_from_dialogues(kind: str, tmp_path: Path) -> None:
    source = save_model(kind, tmp_path / "model")
    for name, dialogues in (("rows", []), ("constant", DIALOGUES)):
        export_model(source, tmp_path / name, Export(), dialogues)
    operators = {
        name: [
            node.op_type for node in onnx.load(tmp_path / name / "decoder.onnx", load_external_data=False).graph.node
        ]
        for name in ("rows", "constant")
    }
    assert operators["constant"].count("ReduceMax") < operators["rows"].count("ReduceMax")
    for name, activations in (("rows", "row"), ("constant", "constant")):
        summarizer = OnnxSummarizer.load(tmp_path / name, threads=1)
        assert summarizer.manifest.activations == activations
        assert "DynamicQuantizeLinear" not in operators[name]
        assert summarizer.summarize([DIALOGUE]).texts != [""]


def test_convert_reads_the_dialogues_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_model("bart", tmp_path / "model")
    (tmp_path / "rows.csv").write_text("fname,dialogue\na,#Person1#: 네?\nb,\n", encoding="utf-8")
    convert.run("model", "out", calibration="rows.csv")
    assert OnnxSummarizer.load("out").manifest.activations == "constant"
    convert.run("model", "out")
    assert OnnxSummarizer.load("out").manifest.activations == "row"
    with pytest.raises(UserError, match="--calibration is for int8"):
        convert.run("model", "out", precision="fp32", calibration="rows.csv")


def test_a_calibration_that_cannot_be_is_not_left_out_silently(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("fname,dialogue\na,\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"rows\.csv has no dialogue to calibrate with"):
        convert.run("model", "out", calibration="rows.csv")
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    monkeypatch.setenv("YOYAK__EXPORT__ACTIVATIONS", "row")
    with pytest.raises(UserError, match=r"export\.activations is row: leave one of them out"):
        convert.run("model", "out", calibration="rows.csv")
