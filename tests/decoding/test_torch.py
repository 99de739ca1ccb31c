"""Batched generation: a batch that does not fit into memory is halved, and scores take little memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mlflow_helpers import DIALOGUE
from onnx_models import save_model
from yoyak.decoding.torch import TorchSummarizer
from yoyak.models.text import decode

CODE = """
import json, resource, sys
import torch
from yoyak.decoding.torch import TorchSummarizer

torch.set_num_threads(1)
torch.manual_seed(0)
summarizer = TorchSummarizer.load(sys.argv[1], "cpu")
summarizer.model.resize_token_embeddings(20_000)
dialogues = [sys.argv[3]] * 96
tokens = int(sys.argv[4])
update = {"num_beams": 4, "num_return_sequences": 1, "batch_size": 96}
update |= {"min_new_tokens": tokens, "max_new_tokens": tokens}
settings = summarizer.generation.model_copy(update=update)
summarizer.summarize(dialogues[:1], generation=settings)
if sys.argv[2] != "0":
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + int(sys.argv[2]) * 2**20,) * 2)
sizes = []
generate = summarizer.generate
summarizer.generate = lambda inputs, *rest: (sizes.append(len(inputs)), generate(inputs, *rest))[1]
summaries = summarizer.summarize(dialogues, generation=settings)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"sizes": sizes, "texts": summaries.texts, "peak_mb": peak}))
"""


def summarize(model: Path, spare_mb: int, tokens: int) -> dict[str, Any]:
    completed = subprocess.run(
        [sys.executable, "-c", CODE, str(model), str(spare_mb), DIALOGUE, str(tokens)],
        capture_output=True,
        text=True,
        check=False,
        # glibc then returns every large tensor at once, and the peak is that of the live ones.
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "1048576"},
    )
    assert completed.returncode == 0, completed.stderr
    return json.loads(completed.stdout)


@pytest.mark.slow
def test_a_batch_that_memory_does_not_hold_is_halved(tiny_bart: Path) -> None:
    free, bounded = summarize(tiny_bart, 0, 12), summarize(tiny_bart, 100, 12)
    assert free["sizes"] == [96]
    assert bounded["sizes"][0] == 96
    assert bounded["sizes"][-1] < 96
    assert bounded["texts"] == free["texts"]


@pytest.mark.slow
def test_memory_does_not_hold_the_scores_of_every_step(tiny_bart: Path) -> None:
    # 96 dialogues x 4 beams x 20,000 tokens x 36 more steps are 1,100 MB in fp32.
    short, long = (summarize(tiny_bart, 0, tokens)["peak_mb"] for tokens in (12, 48))
    assert long - short < 400


@pytest.mark.parametrize("name", ["gpt2", "llama", "qwen2"])
def test_prompts_that_are_read_once_give_the_summaries_of_prompts_read_per_beam(name: str, tmp_path: Path) -> None:
    summarizer = TorchSummarizer.load(save_model(name, tmp_path), "cpu")
    rows = [list(range(3, 3 + length)) for length in (1, 4, 17)]
    options = {"num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 10, "length_penalty": 0.7}
    config = summarizer.generation_config(summarizer.generation.model_copy(update=options))
    cached = summarizer.generate(rows, config)
    ids, mask = summarizer.pad(rows)
    with torch.inference_mode():
        written = summarizer.model.generate(
            input_ids=ids, attention_mask=mask, generation_config=config, use_model_defaults=False
        )
    texts = decode(summarizer.tokenizer, written[:, ids.shape[1] :].tolist())
    assert [candidate.text for each in cached for candidate in each.candidates] == texts
    assert len(set(texts)) > 4
