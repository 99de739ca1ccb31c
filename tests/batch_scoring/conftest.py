"""A tiny exported model as MLflow has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from batch_scoring.dialogue_files import BATCH_SIZE, FAILING, change_code
from mlflow_helpers import DIALOGUE
from onnx_models import save_model
from yoyak.export.folder import export_model
from yoyak.params import Serving
from yoyak.params.deploy import Export
from yoyak.serving.saving import save_exported


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder without torch, in fp32."""
    folder = tmp_path_factory.mktemp("batch_scoring")
    export_model(save_model("bart", folder / "model"), folder / "bart", Export(precision="fp32"))
    return folder / "bart"


@pytest.fixture(scope="session")
def packaged(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The MLflow model of it."""
    folder = tmp_path_factory.mktemp("packaged") / "packaged"
    save_exported(folder, exported, serving=Serving(batch_size=BATCH_SIZE), example=DIALOGUE)
    return folder


@pytest.fixture(scope="session")
def failing_model(packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but the code that it was registered with raises an error for dialogues with `FAILING`."""
    folder = tmp_path_factory.mktemp("failing") / "packaged"
    change_code(
        packaged,
        folder,
        "        started = time.perf_counter()\n",
        f"        if any({FAILING!r} in text for text in texts):\n            raise RuntimeError('out of order')\n",
    )
    return folder
