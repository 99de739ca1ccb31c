"""What an exported model writes is, token for token, what transformers' generate writes with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from onnx_models import MODELS, VOCABULARY, save_model
from yoyak.decoding.generate import Summarizer
from yoyak.decoding.onnx import OnnxSummarizer
from yoyak.decoding.search import Search
from yoyak.export.folder import export_model
from yoyak.params_export import Export

PAD, END = 1, 2
Pair = tuple[Summarizer, OnnxSummarizer]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch's threads would wait for those of onnxruntime, and the other way round."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A model in torch, and its export in fp32."""
    folder = tmp_path_factory.mktemp(request.param)
    source = save_model(request.param, folder / "model")
    export_model(source, folder / "export", Export(precision="fp32"))
    return Summarizer.load(source, "cpu"), OnnxSummarizer.load(folder / "export", threads=1)


token = st.integers(3, VOCABULARY - 1)
inputs = st.lists(st.lists(token, min_size=1, max_size=24), min_size=1, max_size=5)
options = st.fixed_dictionaries(
    {"max_new_tokens": st.integers(1, 14)},
    optional={
        "num_beams": st.integers(1, 5),
        "min_new_tokens": st.integers(0, 14),
        "length_penalty": st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]),
        "no_repeat_ngram_size": st.integers(0, 4),
        "repetition_penalty": st.sampled_from([0.8, 1.0, 1.3, 2.0]),
        "early_stopping": st.sampled_from([True, False, "never"]),
        "forced_bos_token_id": token,
        "forced_eos_token_id": st.just(END),
        "suppress_tokens": st.lists(token, min_size=1, max_size=40, unique=True),
        "begin_suppress_tokens": st.lists(st.integers(2, VOCABULARY - 1), min_size=1, max_size=40, unique=True),
    },
)


@torch.inference_mode()
def of_torch(summarizer: Summarizer, rows: list[list[int]], chosen: dict[str, Any]) -> list[tuple[list[int], float]]:
    """Return each row's token lists with scores, as transformers writes them."""
    ids, mask = summarizer.pad(rows)
    own = summarizer.model.generation_config
    config = GenerationConfig(
        **chosen, do_sample=False, eos_token_id=END, pad_token_id=PAD, decoder_start_token_id=own.decoder_start_token_id
    )
    found = summarizer.model.generate(
        input_ids=ids, attention_mask=mask, generation_config=config, use_model_defaults=False,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    start = 1 if summarizer.spec.family == "seq2seq" else ids.shape[1]
    written = [cut(row) for row in found.sequences[:, start:].tolist()]
    scores = found.sequences_scores.tolist() if chosen.get("num_beams", 1) > 1 else [0.0] * len(written)
    return list(zip(written, scores, strict=True))


def cut(tokens: list[int]) -> list[int]:
    return tokens[: tokens.index(END) + 1] if END in tokens else tokens


def of_onnx(summarizer: OnnxSummarizer, rows: list[list[int]], chosen: dict[str, Any]) -> list[tuple[list[int], float]]:
    ready = {key: tuple(value) if isinstance(value, list) else value for key, value in chosen.items()}
    how = Search(**ready, eos_token_id=END, pad_token_id=PAD)
    return [(one.tokens, one.score) for texts in summarizer.write(rows, how) for one in texts]


def check(pair: Pair, rows: list[list[int]], chosen: dict[str, Any]) -> None:
    torch_side, onnx_side = pair
    chosen = {**chosen, "num_return_sequences": chosen.get("num_beams", 1)}
    wanted, found = of_torch(torch_side, rows, chosen), of_onnx(onnx_side, rows, chosen)
    assert [tokens for tokens, _ in found] == [tokens for tokens, _ in wanted]
    if chosen.get("num_beams", 1) > 1:
        assert [score for _, score in found] == pytest.approx([score for _, score in wanted], rel=1e-4, abs=1e-4)


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=inputs, chosen=options)
def test_tokens_are_those_of_transformers(pair: Pair, rows: list[list[int]], chosen: dict[str, Any]) -> None:
    check(pair, rows, chosen)
