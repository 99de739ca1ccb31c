"""What an exported model writes is, token for token, what transformers' generate writes with the same weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import GenerationConfig

from onnx_models import MODELS, VOCABULARY, save_model
from yoyak.decoding.onnx import columns, decoder, runtime, search
from yoyak.decoding.onnx.options import Search
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.torch import TorchSummarizer
from yoyak.export.folder import export_model
from yoyak.params.deploy import Export

PAD, END = 1, 2
Pair = tuple[TorchSummarizer, OnnxSummarizer]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Torch's threads would wait for those of onnxruntime, and the other way round."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", autouse=True)
def small_growth() -> Iterator[None]:
    """Short texts outgrow the room of their caches too, and lose unused columns."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(columns, "PERIOD", 3)
        patched.setattr(columns, "MULTIPLE", 2)
        yield


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A model in torch, and its export in fp32."""
    folder = tmp_path_factory.mktemp(request.param)
    source = save_model(request.param, folder / "model")
    export_model(source, folder / "export", Export(precision="fp32"))
    return TorchSummarizer.load(source, "cpu"), OnnxSummarizer.load(folder / "export", threads=1)


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
def of_torch(
    summarizer: TorchSummarizer, rows: list[list[int]], chosen: dict[str, Any], end: int = END
) -> list[tuple[list[int], float]]:
    """Return each row's token lists with scores, as transformers writes them."""
    ids, mask = summarizer.pad(rows)
    own = summarizer.model.generation_config
    config = GenerationConfig(
        **chosen, do_sample=False, eos_token_id=end, pad_token_id=PAD, decoder_start_token_id=own.decoder_start_token_id
    )
    output = summarizer.model.generate(
        input_ids=ids, attention_mask=mask, generation_config=config, use_model_defaults=False,
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    start = 1 if summarizer.spec.family == "seq2seq" else ids.shape[1]
    written = [cut(row, end) for row in output.sequences[:, start:].tolist()]
    scores = output.sequences_scores.tolist() if chosen.get("num_beams", 1) > 1 else [0.0] * len(written)
    return list(zip(written, scores, strict=True))


def cut(tokens: list[int], end: int) -> list[int]:
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def reached(texts: list[tuple[list[int], float]]) -> list[list[int]]:
    """Return the tokens of the beams that hold a text: where few tokens are allowed, the others are a tie near -1e9."""
    return [tokens for tokens, score in texts if score > -1e6]


def of_onnx(
    summarizer: OnnxSummarizer, rows: list[list[int]], chosen: dict[str, Any], end: int = END
) -> list[tuple[list[int], float]]:
    ready: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in chosen.items()}
    search = Search(**ready, eos_token_id=end, pad_token_id=PAD)
    return [(text.tokens, text.score) for texts in summarizer.write(rows, search) for text in texts]


def check(pair: Pair, rows: list[list[int]], chosen: dict[str, Any], end: int = END) -> None:
    torch_side, onnx_side = pair
    chosen = {**chosen, "num_return_sequences": chosen.get("num_beams", 1)}
    expected, actual = of_torch(torch_side, rows, chosen, end), of_onnx(onnx_side, rows, chosen, end)
    assert reached(actual) == reached(expected)
    if chosen.get("num_beams", 1) > 1:
        assert [score for _, score in actual] == pytest.approx([score for _, score in expected], rel=1e-3, abs=1e-3)


@settings(max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=inputs, chosen=options)
def test_tokens_are_those_of_transformers(pair: Pair, rows: list[list[int]], chosen: dict[str, Any]) -> None:
    check(pair, rows, chosen)


@pytest.mark.parametrize("beams", [1, 3])
def test_dialogues_leave_the_batch_when_they_are_finished(
    pair: Pair, beams: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = np.random.default_rng(beams)
    rows = [chance.integers(3, VOCABULARY, size=size).tolist() for size in (20, 4, 11, 7, 3, 15, 9, 1)]
    chosen = {"num_beams": beams, "max_new_tokens": 14, "early_stopping": beams > 1}
    written = [tokens for tokens, _ in of_onnx(pair[1], rows, chosen)]
    # The end mark is a token that some dialogues write early, others late, and others never.
    spread = Counter(token for text in written for token in set(text))
    monkeypatch.setattr(search, "MIN_ACTIVE_SHARE", 0.95)
    left: list[int] = []
    for kind in get_args(runtime.OnnxDecoder):

        def keep(self: Any, dialogues: Any, known: Any = kind.keep) -> None:
            left.append(len(dialogues))
            known(self, dialogues)

        monkeypatch.setattr(kind, "keep", keep)
    for end, _ in spread.most_common(4):
        check(pair, rows, chosen, end)
    assert len(left) > 2


def test_long_dialogues_are_read_in_pieces(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [[3 + (7 * row + index) % 290 for index in range(size)] for row, size in enumerate((24, 3, 24, 40, 5, 5, 1))]
    chosen = {"num_beams": 2, "max_new_tokens": 6}
    expected = of_onnx(pair[1], rows, chosen)
    monkeypatch.setattr(decoder, "MAX_ENCODER_TOKENS", 30)
    assert [tokens for tokens, _ in of_onnx(pair[1], rows, chosen)] == [tokens for tokens, _ in expected]
    check(pair, rows, chosen)
