"""A tiny model with its export, and the result of a bench of it."""

from __future__ import annotations

from typing import Any

import pytest

from onnx_models import save_model
from yoyak.bench.results import BenchResult
from yoyak.bench.run import Subject, run_bench
from yoyak.data.records import Dialogue
from yoyak.export.folder import export_model
from yoyak.params import Params, select
from yoyak.params.deploy import Export
from yoyak.params.stages import BenchParams

MEMBER = {"family": "causal", "checkpoint": "x", "learning_rate": 0.1}
TEXTS = [f"#Person1#: {number} " + "내일 만나요. " * (number % 5) for number in range(6)]
SETTINGS: dict[str, Any] = {
    "members": {"bart": MEMBER},
    "generation": {"max_new_tokens": 6, "num_beams": 2, "num_return_sequences": 2},
    "scoring": {"granularities": ["syllable"], "bootstrap_samples": 100},
    "bench": {
        "batch_sizes": [1, 2],
        "beams": [1, 2],
        "dialogues": 3,
        "repeats": 2,
        "variants": ["torch_int8", "onnx_fp32"],
    },
}


def bench_params(settings: dict[str, Any]) -> BenchParams:
    return select(Params.model_validate(settings), BenchParams)


@pytest.fixture(scope="session")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    folder = tmp_path_factory.mktemp("subject")
    source = save_model("bart", folder / "models" / "bart")
    export_model(source, folder / "exports" / "bart", Export())
    return Subject(name="bart", folder=folder / "exports" / "bart", source=source)


@pytest.fixture(scope="session")
def dev() -> list[Dialogue]:
    return [
        Dialogue(fname=f"dev_{number}", dialogue=text, summaries=("내일 만난다.",)) for number, text in enumerate(TEXTS)
    ]


@pytest.fixture(scope="session")
def result(subject: Subject, dev: list[Dialogue]) -> BenchResult:
    """The result of a bench."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(subject.source.parent)
        return run_bench(subject, dev, bench_params(SETTINGS))
