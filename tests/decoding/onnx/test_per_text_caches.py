"""A model of an unknown structure has one cache per text, and writes the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from onnx_models import save_model
from yoyak.decoding.onnx.options import Search
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.export import beams, prompts
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export

ROWS = [[5, 6, 7, 40, 41], [8, 9], [20] * 30, [7]]


@pytest.mark.parametrize("texts", [1, 3])
@pytest.mark.parametrize("kind", ["t5", "gpt2"])
def test_it_writes_what_a_shared_cache_gives(
    kind: str, texts: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = save_model(kind, tmp_path / "model")
    search = Search(max_new_tokens=9, eos_token_id=2, pad_token_id=1, num_beams=texts, num_return_sequences=texts)
    written = []
    for name in ("shared", "per_text"):
        if name == "per_text":
            monkeypatch.setattr(beams, "_match_layer", lambda *_: None)
            monkeypatch.setattr(prompts, "_match_layer", lambda *_: None)
        export_model(source, tmp_path / name, Export(precision="fp32"))
        assert (tmp_path / name / "reorder.onnx").exists() == (name == "per_text")
        summarizer = OnnxSummarizer.load(tmp_path / name, threads=1)
        written.append([[text.tokens for text in row] for row in summarizer.write(ROWS, search)])
        summarizer.release_memory()
    assert written[0] == written[1]
