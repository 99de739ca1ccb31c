"""The cross-attention cache in 8 bits: what is read from it is nearly what the cache in float gives."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

from onnx_models import save_model
from yoyak.cpu import has_vnni
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.export.cache import quantize_cross_cache
from yoyak.export.folder import export_model
from yoyak.export.graphs import export_graphs
from yoyak.export.store import write_graphs
from yoyak.models.families.seq2seq import Seq2Seq
from yoyak.params.deploy import Export

Array = npt.NDArray[Any]
PART = "past_key_values.0.encoder"
HEADS, SIZE = 3, 16


def attention(opset: int) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Return an encoder that writes the cache which it is given, and a decoder that is one attention to it."""
    key: list[str | int | None] = ["dialogues", HEADS, SIZE, "tokens"]
    value: list[str | int | None] = ["dialogues", HEADS, "tokens", SIZE]
    inputs = [(f"{PART}.key", key), (f"{PART}.value", value)]

    def infos(prefix: str) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(f"{prefix}{name}", TensorProto.FLOAT, shape) for name, shape in inputs]

    copies = [helper.make_node("Identity", [f"given.{name}"], [name], name=name) for name, _ in inputs]
    attend = [
        helper.make_node("MatMul", ["query", f"{PART}.key"], ["scores"], name="scores"),
        helper.make_node("Softmax", ["scores"], ["shares"], name="shares", axis=-1),
        helper.make_node("MatMul", ["shares", f"{PART}.value"], ["mixed"], name="mixed"),
    ]
    query = helper.make_tensor_value_info("query", TensorProto.FLOAT, ["dialogues", HEADS, "texts", SIZE])
    mixed = helper.make_tensor_value_info("mixed", TensorProto.FLOAT, None)
    mask = helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["dialogues", "tokens"])
    graphs = (
        helper.make_graph(copies, "encoder", [mask, *infos("given.")], infos("")),
        helper.make_graph(attend, "decoder", [query, *infos("")], [mixed]),
    )
    imports = [helper.make_opsetid("", opset)]
    encoder, decoder = (helper.make_model(graph, opset_imports=imports, ir_version=8) for graph in graphs)
    return encoder, decoder


def run(model: onnx.ModelProto, feeds: dict[str, Array]) -> dict[str, Array]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [out.name for out in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def write_cache(encoder: onnx.ModelProto, parts: dict[str, Array], read: int | None = None) -> dict[str, Array]:
    """Return what an encoder writes of a dialogue's keys and values; those after ``read`` are padding."""
    dialogues, _, _, tokens = parts[f"{PART}.key"].shape
    mask = np.broadcast_to(np.arange(tokens) < (tokens if read is None else read), (dialogues, tokens))
    feeds = {f"given.{name}": array for name, array in parts.items()}
    return run(encoder, {"attention_mask": mask.astype(np.int64), **feeds})


def skip_without_vnni(signed: bool) -> None:
    """Products of unsigned with signed 8-bit numbers saturate on x86 processors without VNNI."""
    if signed and platform.machine() == "x86_64" and not has_vnni():
        pytest.skip("this processor has no VNNI")


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("opset", [17, 18])
def test_quantized_attention_is_close_to_float(opset: int, signed: bool) -> None:
    skip_without_vnni(signed)
    random = np.random.default_rng(1)
    tokens = 700
    # Features of unlike size, as the keys of trained models have them.
    keys = random.standard_normal((2, HEADS, SIZE, tokens)) * np.geomspace(0.05, 5, SIZE)[:, None]
    values = random.standard_normal((2, HEADS, tokens, SIZE)) + np.linspace(-3, 3, SIZE)
    query = random.standard_normal((2, HEADS, 4, SIZE))
    # One head looks at a single token, one at some, one at all of them.
    query *= np.array([4, 0.5, 0.01])[:, None, None]
    inputs = {f"{PART}.key": keys.astype(np.float32), f"{PART}.value": values.astype(np.float32)}
    feeds = {"query": query.astype(np.float32)}

    encoder, decoder = attention(opset)
    expected = run(decoder, {**feeds, **inputs})["mixed"]
    quantize_cross_cache(encoder, decoder, signed=signed)
    cache = write_cache(encoder, inputs)
    actual = run(decoder, {**feeds, **cache})["mixed"]

    assert {cache[name].dtype for name in inputs} == {np.dtype(np.int8 if signed else np.uint8)}
    for head in range(HEADS):
        error, size = np.abs(actual[:, head] - expected[:, head]), np.abs(expected[:, head])
        assert 0 < error.max() < 0.1 * size.max()
        assert error.mean() < 0.03 * size.mean()
    # Shares of one in 700 are not rounded away.
    assert error.max() < 0.002 * size.max()


def test_a_cache_of_zeros_gives_zeros() -> None:
    encoder, decoder = attention(18)
    quantize_cross_cache(encoder, decoder, signed=True)
    zeros = np.zeros((1, HEADS, SIZE, 5), np.float32)
    cache = write_cache(encoder, {f"{PART}.key": zeros, f"{PART}.value": zeros.swapaxes(2, 3)})
    mixed = run(decoder, {"query": zeros[..., :2].swapaxes(2, 3), **cache})["mixed"]
    assert np.array_equal(mixed, np.zeros((1, HEADS, 2, SIZE), np.float32))


def test_padding_does_not_change_the_cache() -> None:
    encoder, decoder = attention(18)
    quantize_cross_cache(encoder, decoder, signed=True)
    keys = np.random.default_rng(2).standard_normal((1, HEADS, SIZE, 9)).astype(np.float32)
    keys[..., 6:] *= 40
    values = keys.swapaxes(2, 3)
    alone = write_cache(encoder, {f"{PART}.key": keys[..., :6], f"{PART}.value": values[:, :, :6]})
    padded = write_cache(encoder, {f"{PART}.key": keys, f"{PART}.value": values}, read=6)
    for part in ("key_scale", "value_scale"):
        assert np.array_equal(alone[f"{PART}.{part}"], padded[f"{PART}.{part}"])
    assert np.array_equal(alone[f"{PART}.key"], padded[f"{PART}.key"][..., :6])
    assert np.array_equal(alone[f"{PART}.value"], padded[f"{PART}.value"][:, :, :6])


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_logits_are_those_of_a_float_cache(kind: str, signed: bool, tmp_path: Path) -> None:
    skip_without_vnni(signed)
    from yoyak.models.load import load_trained

    source = save_model(kind, tmp_path / "model")
    steps = {}
    for name in ("float", "bits"):
        export_model(source, tmp_path / name, Export(precision="fp32"))
        if name == "bits":
            graphs = export_graphs(load_trained(source, Seq2Seq()).eval())
            quantize_cross_cache(graphs["encoder"], graphs["decoder"], signed=signed)
            write_graphs(graphs, tmp_path / name)
        decoder = OnnxSummarizer.load(tmp_path / name, threads=1).start_decoder([[5, 6, 7, 40, 41], [8, 9], [20] * 60])
        logits = [decoder.first(), decoder.advance(np.array([11, 12, 13]), None)]
        # One dialogue is done; the others go on with two texts each.
        decoder.keep(np.array([0, 2]))
        logits.append(decoder.advance(np.array([14, 15, 16, 17]), np.array([0, 0, 1, 1])))
        steps[name] = np.concatenate(logits)
    for expected, actual in zip(steps["float"], steps["bits"], strict=True):
        assert np.corrcoef(expected, actual)[0, 1] > 0.999
