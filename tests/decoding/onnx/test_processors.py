"""An INT8 model computes the same on a processor that it was not made for."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from onnx_models import save_model
from yoyak.decoding.onnx.decoder import run_encoder
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.export.folder import export_model
from yoyak.export.quantize import Cpu
from yoyak.params.deploy import Export

MARGIN = 1.1
"""Overflows make the error a third larger here."""


def caches(folder: Path) -> dict[str, np.ndarray]:
    """What the encoder makes of random tokens, for cross-attention."""
    encoder = OnnxSummarizer.load(folder, threads=1).encoder
    assert encoder is not None
    ids = np.random.default_rng(0).integers(3, 299, (4, 60))
    return run_encoder(encoder, ids, np.ones_like(ids))


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, float]:
    """One minus the correlation with fp32, for each processor that a model can be made for."""
    folder = tmp_path_factory.mktemp("processors")
    source = save_model("bart", folder / "torch")
    export_model(source, folder / "fp32", Export(precision="fp32"))
    exact, found = caches(folder / "fp32"), {}
    for cpu in get_args(Cpu):
        export_model(source, folder / cpu, Export(cpu=cpu))
        made = caches(folder / cpu)
        found[cpu] = 1 - float(np.mean([np.corrcoef(made[name].ravel(), exact[name].ravel())[0, 1] for name in exact]))
    return found


@pytest.mark.parametrize("cpu", get_args(Cpu))
def test_its_error_against_fp32_is_that_of_quantization_alone(errors: dict[str, float], cpu: str) -> None:
    # Products of uint8 by uint8, as for avx2, overflow on no processor.
    assert errors[cpu] < 0.1
    assert errors[cpu] <= MARGIN * errors["avx2"]
