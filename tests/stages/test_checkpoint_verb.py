"""A trained member becomes a checkpoint that transformers loads and other members start from."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from mlflow_helpers import DIALOGUE
from yoyak.stages import checkpoint


@pytest.mark.parametrize(("dtype", "share"), [("float16", 0.5), ("float32", 1.0)])
def test_a_member_is_written_as_a_plain_checkpoint(
    tiny_bart: Path, tmp_path: Path, dtype: checkpoint.Dtype, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "pretrained/mine"
    checkpoint.run(str(tiny_bart), str(out), dtype=dtype)
    assert f"parameters in {dtype}" in capsys.readouterr().out
    assert not (out / "yoyak.json").exists()
    before = AutoModelForSeq2SeqLM.from_pretrained(tiny_bart, dtype=torch.float32).state_dict()
    after = AutoModelForSeq2SeqLM.from_pretrained(out, dtype=torch.float32).state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, atol=0 if dtype == "float32" else 1e-3, rtol=1e-3)
    size = (out / "model.safetensors").stat().st_size / (tiny_bart / "model.safetensors").stat().st_size
    assert size == pytest.approx(share, abs=0.15)
    tokenizers = (AutoTokenizer.from_pretrained(folder) for folder in (tiny_bart, out))
    assert len({tuple(tokenizer(DIALOGUE)["input_ids"]) for tokenizer in tokenizers}) == 1
