"""A decoder-only model may quote its dialogue: only what its summary itself repeats counts, wherever it runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from onnx_models import save_model
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.torch import TorchSummarizer
from yoyak.ensemble.soft import SoftSummarizer
from yoyak.export.folder import export_model
from yoyak.models.text import decode
from yoyak.params import Generation
from yoyak.params.deploy import Export

Models = tuple[TorchSummarizer, OnnxSummarizer]
TOKENS = 12
RULES: list[dict[str, float]] = [{"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 2}, {"repetition_penalty": 1.6}]


@pytest.fixture(scope="module", params=["gpt2", "llama"])
def models(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder: Path = tmp_path_factory.mktemp(request.param)
    export_model(save_model(request.param, folder / "model"), folder / "export", Export(precision="fp32"))
    return TorchSummarizer.load(folder / "model", "cpu"), OnnxSummarizer.load(folder / "export", threads=1)


@torch.inference_mode()
def write_alone(summarizer: TorchSummarizer, prompt: list[int], rule: dict[str, float]) -> list[int]:
    """Take the best token again and again, without caches, and apply the rule to those alone."""
    written: list[int] = []
    for _ in range(TOKENS):
        scores = summarizer.model(torch.tensor([prompt + written])).logits[0, -1]
        if "repetition_penalty" in rule:
            seen = scores[written]
            scores[written] = torch.where(
                seen < 0, seen * rule["repetition_penalty"], seen / rule["repetition_penalty"]
            )
        for token in range(len(scores)):
            size = int(rule.get("no_repeat_ngram_size", 0))
            grams = {tuple(written[first : first + size]) for first in range(len(written) - size + 1)}
            if size and tuple([*written, token][-size:]) in grams:
                scores[token] = -torch.inf
        scores[summarizer.tokenizer.eos_token_id] = -torch.inf
        written.append(int(scores.argmax()))
    return written


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_only_the_summary_counts(models: Models, rule: dict[str, float]) -> None:
    alone, exported = models
    settings = Generation(
        num_beams=1,
        num_return_sequences=1,
        max_new_tokens=TOKENS,
        min_new_tokens=TOKENS,
        **rule,  # type: ignore[arg-type]
    )
    free = write_alone(alone, prompt := list(range(40, 70)), {})
    # The second dialogue says all that the summary of the first would.
    prompts = [prompt, [*range(3, 50), *free]]
    expected = [write_alone(alone, each, rule) for each in prompts]
    with torch.inference_mode():
        together = alone.generate(prompts, alone.generation_config(settings))
        soft = SoftSummarizer([alone, alone], [0.5, 0.5]).generate([prompts, prompts], settings)
    texts = decode(alone.tokenizer, expected)
    assert [each.candidates[0].text for each in together] == texts
    if "repetition_penalty" not in rule:  # Of probabilities, where that of a single model is of logits.
        assert [each.candidates[0].text for each in soft] == texts
    assert [each[0].tokens for each in exported.write(prompts, exported.search(settings))] == expected
    assert set(expected[1]) & set(prompts[1])
