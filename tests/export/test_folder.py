"""What `yoyak export` writes: small, whole, each weight once, and nothing in float that need not be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper

from onnx_models import MODELS, VOCABULARY, save_model
from yoyak.decoding.onnx.columns import MULTIPLE
from yoyak.decoding.onnx.runtime import OnnxSummarizer
from yoyak.decoding.onnx.shared import SharedCacheDecoder
from yoyak.errors import UserError
from yoyak.export.edit import initializers
from yoyak.export.folder import export_model
from yoyak.export.graphs import export_graphs
from yoyak.export.store import WEIGHTS, write_graphs
from yoyak.models.families.seq2seq import Seq2Seq
from yoyak.params.deploy import Export


@pytest.fixture(scope="module")
def bart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model("bart", tmp_path_factory.mktemp("bart") / "model")


def read(folder: Path) -> dict[str, onnx.ModelProto]:
    names = ("decoder", "encoder")
    paths = [folder / f"{name}.onnx" for name in names]
    return {path.stem: onnx.load(path, load_external_data=False) for path in paths if path.exists()}


def places(model: onnx.ModelProto) -> dict[str, str]:
    """Return where each constant begins in the file of weights, by name."""
    return {
        tensor.name: next(entry.value for entry in tensor.external_data if entry.key == "offset")
        for tensor in model.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
    }


def reader(model: onnx.ModelProto, kind: str, part: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.op_type == kind and part in node.name)


def table_of_tokens(model: onnx.ModelProto, kind: str) -> str:
    """Return the name of the table with a row of numbers for each token."""
    sizes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    tables = [node.input[0] for node in model.graph.node if node.op_type == kind and node.input[0] in sizes]
    return next(name for name in tables if sizes[name][0] == VOCABULARY and sizes[name][1] > 1)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int4"])
def test_the_embedding_is_stored_once(precision: str, bart: Path, tmp_path: Path) -> None:
    export_model(bart, tmp_path / "out", Export.model_validate({"precision": precision}))
    graphs = read(tmp_path / "out")
    kind = "GatherBlockQuantized" if precision == "int4" else "Gather"
    tables = {name: table_of_tokens(model, kind) for name, model in graphs.items()}
    stored_at = {places(graphs[name])[table] for name, table in tables.items()}
    decoder = graphs["decoder"]
    if precision == "int4":
        head = next(node for node in decoder.graph.node if node.op_type == "MatMulNBits" and "lm_head" in node.name)
        stored_at.add(places(decoder)[head.input[1]])
    else:
        stored_at.add(places(decoder)[reader(decoder, "Transpose", "yoyak.head").input[0]])
    assert len(stored_at) == 1


@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("cpu", ["avx512_vnni", "avx2", "arm64"])
def test_int8_quantizes_every_weight_but_vectors(cpu: str, per_channel: bool, bart: Path, tmp_path: Path) -> None:
    settings = Export.model_validate({"cpu": cpu, "per_channel": per_channel})
    result = export_model(bart, tmp_path / "out", settings)
    ops = json.loads((tmp_path / "out/ops.json").read_text())
    assert all(len(row["shape"]) < 2 or 1 in row["shape"] for row in ops["float_weights"])
    assert sum(row["bytes"] for row in ops["float_weights"]) == ops["bytes_by_type"]["float"]
    # Two products of activations in each self-attention, and no other product in float.
    assert len(ops["float_products_of_activations"]) == 2 * (1 + 2)
    stored = (tmp_path / "out" / WEIGHTS).stat().st_size
    assert stored < result.torch_bytes / 3
    assert json.loads((tmp_path / "out/onnx.json").read_text())["cpu"] == cpu


def test_an_untied_embedding_is_quantized_separately(tmp_path: Path) -> None:
    source = save_model("mt5", tmp_path / "model")
    export_model(source, tmp_path / "out", Export())
    graphs = read(tmp_path / "out")
    tables = {places(model)["yoyak.embedding_0.rows"] for model in graphs.values()}
    assert len(tables) == 1
    assert not [node for node in graphs["decoder"].graph.node if node.name == "yoyak.head"]


@pytest.mark.parametrize("kind", ["bart", "mt5", "gpt2", "qwen2"])
def test_quantized_logits_are_close_to_fp32(kind: str, tmp_path: Path) -> None:
    source = save_model(kind, tmp_path / "model")
    inputs = [[token, token + 1, token + 40] for token in range(10, 50)]
    logits = {}
    for precision in ("fp32", "int8", "int4"):
        export_model(source, tmp_path / precision, Export.model_validate({"precision": precision}))
        summarizer = OnnxSummarizer.load(tmp_path / precision, threads=1)
        logits[precision] = summarizer.start_decoder(inputs).first()

    def likeness(precision: str) -> float:
        rows = zip(logits["fp32"], logits[precision], strict=True)
        return float(np.mean([np.corrcoef(expected, actual)[0, 1] for expected, actual in rows]))

    # The weights are random and large; those of a trained model lose less.
    assert likeness("int8") > 0.95
    assert 0.5 < likeness("int4") < likeness("int8")


def test_the_folder_is_complete(bart: Path, tmp_path: Path) -> None:
    export_model(bart, tmp_path / "out", Export(precision="int8"))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "encoder.onnx", "decoder.onnx", WEIGHTS,
        "tokenizer.json", "yoyak.json", "onnx.json", "ops.json",
    }  # fmt: skip


@pytest.mark.parametrize("kind", MODELS)
def test_all_texts_of_a_dialogue_share_a_cache(kind: str, tmp_path: Path) -> None:
    export_model(save_model(kind, tmp_path / "model"), tmp_path / "out", Export(precision="fp32"))
    decoder = onnx.load(tmp_path / "out/decoder.onnx", load_external_data=False)
    assert "own_bias" in {value.name for value in decoder.graph.input}
    assert not (tmp_path / "out/reorder.onnx").exists()


def test_the_encoder_computes_the_cross_attention_cache(bart: Path) -> None:
    from yoyak.models.load import load_trained

    graphs = export_graphs(load_trained(bart, Seq2Seq()).eval())
    outputs = [out.name for out in graphs["encoder"].graph.output]
    assert outputs == [f"past_key_values.{n}.encoder.{part}" for n in range(2) for part in ("key", "value")]
    # Two layers, keys and values.
    projections = [tensor for name, tensor in initializers(graphs["encoder"]).items() if name.startswith("cross.")]
    assert len([tensor for tensor in projections if len(tensor.dims) == 2]) == 4


def test_identical_bytes_are_stored_once(tmp_path: Path) -> None:
    table = np.arange(2000, dtype=np.float32)
    models = {
        name: onnx.helper.make_model(
            onnx.helper.make_graph([], name, [], [], [numpy_helper.from_array(table.reshape(shape), name)])
        )
        for name, shape in (("a", (2000,)), ("b", (40, 50)))
    }
    assert write_graphs(models, tmp_path) == table.nbytes
    stored = onnx.load(tmp_path / "b.onnx").graph.initializer[0]
    assert np.array_equal(numpy_helper.to_array(stored), table.reshape(40, 50))


def test_all_texts_of_a_dialogue_share_its_caches(bart: Path, tmp_path: Path) -> None:
    export_model(bart, tmp_path / "out", Export(precision="fp32"))
    summarizer = OnnxSummarizer.load(tmp_path / "out", threads=1)
    decoder = summarizer.start_decoder([[5, 6, 7], [8, 9]])
    assert isinstance(decoder, SharedCacheDecoder)
    decoder.first()
    decoder.advance(np.array([11, 12, 13, 14, 15, 16]), np.array([0, 0, 0, 1, 1, 1]))
    assert {len(array) for array in (*decoder.read.values(), *decoder.self_cache.values())} == {2}
    # The first step has written one column for each dialogue, the second one for each of its texts.
    for array in decoder.self_cache.values():
        assert np.flatnonzero(array.any(axis=(0, 1, 3))).tolist() == [0, 1, 2, 3]


def test_a_cache_is_written_in_place_and_grows_when_full(bart: Path, tmp_path: Path) -> None:
    export_model(bart, tmp_path / "out", Export(precision="fp32"))
    summarizer = OnnxSummarizer.load(tmp_path / "out", threads=1)
    decoder = summarizer.start_decoder([[5, 6, 7], [8, 9]])
    assert isinstance(decoder, SharedCacheDecoder)
    decoder.first()
    before = dict(decoder.self_cache)
    for _ in range(MULTIPLE - 1):
        decoder.advance(np.array([11, 12]), None)
    assert all(decoder.self_cache[name] is array for name, array in before.items())
    decoder.advance(np.array([11, 12]), None)
    for name, array in before.items():
        assert decoder.self_cache[name].shape[2] == 2 * MULTIPLE
        assert np.array_equal(decoder.self_cache[name][:, :, :MULTIPLE], array)


def test_an_architecture_unknown_to_optimum_gives_one_sentence(bart: Path) -> None:
    from yoyak.models.load import load_trained

    model = load_trained(bart, Seq2Seq())
    model.config.model_type = "nonsense"
    with pytest.raises(UserError, match="cannot export nonsense"):
        export_graphs(model)
