"""Long dialogues and steps in a served model: it answers as the pipeline, within its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from onnx_models import save_model
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.errors import UserError
from yoyak.export.folder import export_model
from yoyak.models.spec import load_spec, save_spec
from yoyak.params import Generation, Serving
from yoyak.params.deploy import Export
from yoyak.params.members import Windows
from yoyak.serving.batching import Batcher
from yoyak.serving.engine import Engine
from yoyak.serving.queued import Answer
from yoyak.serving.saving import save_exported, with_serving

SHORT = "#Person1#: 음… 네?"
LONG = "\n".join(f"#Person{1 + number % 2}#: 세 시에 만나요. {number}" for number in range(14))
PLAIN = Generation(num_beams=1, num_return_sequences=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny export that reads long dialogues in parts, with steps before and after it."""
    folder = tmp_path_factory.mktemp("steps")
    source = save_model("bart", folder / "model")
    spec = load_spec(source)
    generation = spec.generation.model_copy(update={"postprocessing": ("restore_masks", "polite_style")})
    save_spec(
        source,
        replace(
            spec, windows=Windows(max_parts=6, overlap_turns=1), preprocessing=("drop_fillers",), generation=generation
        ),
    )
    export_model(source, folder / "bart", Export(precision="fp32"))
    return folder / "bart"


def test_a_packed_model_answers_as_the_pipeline(exported: Path, tmp_path: Path) -> None:
    import mlflow

    save_exported(tmp_path / "model", exported, serving=Serving(batch_size=4), example=SHORT)
    answers = mlflow.pyfunc.load_model(str(tmp_path / "model")).predict(pd.DataFrame({"dialogue": [SHORT, LONG]}))
    expected = OnnxSummarizer.load(exported).summarize([SHORT, LONG])
    assert list(answers["summary"]) == expected.texts
    assert list(answers["read"]) == ["whole", "windows"]
    assert list(answers["truncated"]) == expected.cut
    # What changes a style is imported where the model is served.
    assert "kiwipiepy==" in (tmp_path / "model" / "requirements.txt").read_text()


def test_parts_count_for_the_limits_of_a_request_and_of_a_batch(exported: Path, monkeypatch) -> None:
    with with_serving(exported, Serving(batch_size=8, max_tokens=12 * 12, max_batch_tokens=3 * 12)) as folder:
        engine = Engine(folder, served=True)
    [searches] = engine.prepare([LONG], {})[2]
    assert searches > 3
    assert engine.prepare([SHORT], {})[2] == [1]
    with pytest.raises(UserError, match="parts of dialogues x num_beams x max_new_tokens"):
        engine.prepare([LONG] * (12 // searches + 1), {})
    sizes = []
    write = OnnxSummarizer.write

    def watch(self: OnnxSummarizer, inputs: Sequence[list[int]], *rest: Any) -> Any:
        sizes.append(len(inputs))
        return write(self, inputs, *rest)

    monkeypatch.setattr(OnnxSummarizer, "write", watch)
    texts, settings, costs = engine.prepare([LONG], {})
    [answer] = engine.ask(texts, settings, costs)
    assert answer.read == "windows"
    assert max(sizes) == 3
    assert sum(sizes) >= searches


def test_a_dialogue_that_takes_many_rows_leaves_room_for_fewer_others() -> None:
    batches: list[list[str]] = []

    def work(texts: list[str], _: Generation) -> list[Answer]:
        batches.append(texts)
        return [Answer(text, False) for text in texts]

    batcher = Batcher(work, batch_size=4, max_wait=0.0, capacity=100)
    texts, costs = ["a", "bb", "ccc", "dddd", "eeeee"], [1, 2, 9, 3, 1]
    assert batcher.ask(texts, PLAIN, costs) == [Answer(text, False) for text in texts]
    assert sorted(text for batch in batches for text in batch) == texts
    for batch in batches:
        assert sum(costs[texts.index(text)] for text in batch) <= 4 or len(batch) == 1
    assert batches[0] == ["a", "bb", "eeeee"]
