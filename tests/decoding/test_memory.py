"""What a search takes is at most what is estimated, and not far below; and what an export keeps is freed on demand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from onnx_models import save_model
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.torch import TorchSummarizer
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export

CODE = """
import json, sys
from yoyak.bench.memory import peak_mb, reset_peak
from yoyak.decoding.loading import load_member
from yoyak.decoding.memory import bytes_per_dialogue, release_memory
from yoyak.serving.memory import MemoryKeeper, resident_bytes

summarizer = load_member(__import__("pathlib").Path(sys.argv[1]), "cpu", 1)
def settings(beams, new):
    update = {"num_beams": beams, "num_return_sequences": 1, "max_new_tokens": new, "min_new_tokens": new}
    return summarizer.generation.model_copy(update=update)
text = "네 " * 400
summarizer.summarize([text], generation=settings(2, 4))
before = resident_bytes()
reset_peak()
start = peak_mb()
summarizer.summarize([text] * 12, generation=settings(20, 30))
used, estimate = peak_mb() - start, 12 * bytes_per_dialogue(summarizer, settings(20, 30)) / 1e6
keeper = MemoryKeeper()
keeper.settled = 0
keeper.settle(lambda: release_memory(summarizer))
print(json.dumps({"used": used, "estimate": estimate, "kept": (resident_bytes() - before) / 1e6}))
"""


@pytest.fixture(scope="module", params=["bart", "gpt2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder-decoder and a decoder-only model, in torch and exported."""
    folder = tmp_path_factory.mktemp(request.param)
    export_model(save_model(request.param, folder / "torch"), folder / "onnx", Export(precision="fp32"))
    return folder


def test_both_runtimes_know_the_sizes_of_the_same_model(folder: Path) -> None:
    in_torch = TorchSummarizer.load(folder / "torch", "cpu").footprint
    exported = OnnxSummarizer.load(folder / "onnx", threads=1).footprint
    for name in ("token_bytes", "read_bytes", "vocabulary", "heads", "width"):
        assert getattr(in_torch, name) == getattr(exported, name), name


@pytest.mark.slow
@pytest.mark.parametrize("runtime", ["torch", "onnx"])
def test_a_search_takes_no_more_than_is_estimated_and_leaves_little_behind(folder: Path, runtime: str) -> None:
    completed = subprocess.run(
        [sys.executable, "-c", CODE, str(folder / runtime)],
        capture_output=True,
        text=True,
        check=True,
        # glibc then returns large arrays at once, and the peak is that of those in use.
        env=os.environ | {"MALLOC_TRIM_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1"},
    )
    found = json.loads(completed.stdout)
    assert found["used"] <= found["estimate"] <= 8 * max(1, found["used"]), found
    assert found["kept"] <= max(8, found["used"] / 2), found
