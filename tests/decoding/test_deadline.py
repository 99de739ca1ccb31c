"""A search that nobody waits for ends at its next step, in torch, in an export and in an ensemble."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from mlflow_helpers import DIALOGUE
from onnx_models import save_model
from yoyak.decoding.deadline import AbandonedError, ends_when
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.summarizer import Summarizer
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.soft import SoftSummarizer
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export

STEPS = 5


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("deadline")
    export_model(save_model("bart", folder / "torch"), folder / "onnx", Export(precision="fp32"))
    return folder / "torch", folder / "onnx"


@pytest.fixture(scope="module", params=["torch", "onnx", "soft"])
def summarizer(request: pytest.FixtureRequest, folders: tuple[Path, Path]) -> Summarizer:
    torch_folder, onnx_folder = folders
    if request.param == "onnx":
        return OnnxSummarizer.load(onnx_folder, threads=1)
    model = TorchSummarizer.load(torch_folder, "cpu")
    return model if request.param == "torch" else SoftSummarizer([model, model], [0.5, 0.5])


def after(checks: int) -> tuple[Callable[[], bool], list[int]]:
    """A condition that is so after that many checks, and the checks that there were."""
    seen: list[int] = []
    numbers = itertools.count(1)

    def is_over() -> bool:
        seen.append(next(numbers))
        return len(seen) > checks

    return is_over, seen


@pytest.mark.parametrize("beams", [1, 3])
def test_it_ends_at_the_step_at_which_it_is_over(summarizer: Summarizer, beams: int) -> None:
    settings = summarizer.generation.model_copy(
        update={"num_beams": beams, "num_return_sequences": 1, "max_new_tokens": 40, "min_new_tokens": 40}
    )
    expected = summarizer.summarize([DIALOGUE], generation=settings).texts
    is_over, seen = after(STEPS)
    with pytest.raises(AbandonedError), ends_when(is_over):
        summarizer.summarize([DIALOGUE], generation=settings)
    assert len(seen) == STEPS + 1
    # What a block has ended is of no consequence outside of it.
    is_over, seen = after(1000)
    with ends_when(is_over):
        assert summarizer.summarize([DIALOGUE], generation=settings).texts == expected
    assert len(seen) >= 40
    assert summarizer.summarize([DIALOGUE], generation=settings).texts == expected
