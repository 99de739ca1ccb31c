"""Graphs in INT8 or with 4-bit weights; an embedding and the head that is tied to it are the same numbers.

INT8 is onnxruntime's dynamic quantization with Optimum's settings for the processor, of products with a constant
only: quantizing QKᵀ and AV would quantize the whole cache anew at each step, which costs 1.7 times and more.
Embeddings are looked up in INT8 (or 4 bits) and only the rows that were looked up become float.
"""

from __future__ import annotations

import hashlib
import logging
import platform
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from yoyak.export.cache import quantize_cross_cache
from yoyak.export.edit import Graphs, drop_unused, head, initializers
from yoyak.params.deploy import Export

if TYPE_CHECKING:
    from optimum.onnxruntime import QuantizationConfig

Cpu = Literal["avx512_vnni", "avx2", "arm64"]
Array = npt.NDArray[Any]
SMALLEST = 4096
"""Elements from which a table that is looked into is an embedding; T5's table of positions stays in float."""
BLOCK = 32
"""Weights that share a scale in 4 bits."""


@dataclass(frozen=True, slots=True)
class Rows:
    """An embedding in INT8."""

    values: Array
    scale: Array
    """One for all rows, or one for each."""
    zero: Array
    """Zero point, for all rows."""


def find_cpu() -> Cpu:
    """Return which of Optimum's settings is this machine's."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    info = Path("/proc/cpuinfo")
    flags = info.read_text(encoding="utf-8", errors="replace").split() if info.is_file() else []
    return "avx512_vnni" if {"avx512_vnni", "avx_vnni"} & set(flags) else "avx2"


def quantize(graphs: Graphs, settings: Export) -> None:
    """Change the graphs to the precision of the settings; in fp32 a tied head is read from the embedding."""
    if settings.precision == "int4":
        for model in graphs.values():
            _int4(model)
        return
    known: dict[bytes, Rows] = {}
    # The decoder first: the rows of its head are those of the embedding, in the encoder too.
    for name in sorted(graphs):
        tied = _tied(graphs[name])
        if settings.precision == "fp32":
            if tied:
                _share_head(graphs[name], *tied)
            continue
        weight = None
        if tied:
            embedding, weight = tied
            key = _key(initializers(graphs[name])[embedding])
        graphs[name] = model = _int8(graphs[name], settings)
        if tied and weight is not None:
            known[key] = _take_head(model, weight)
        _int8_embeddings(model, known, settings.per_channel)
    if settings.precision == "int8" and "encoder" in graphs:
        signed = _config(settings).weights_dtype.name == "QInt8"
        quantize_cross_cache(graphs["encoder"], graphs["decoder"], signed=signed)
    for model in graphs.values():
        drop_unused(model)


def embeddings(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """Yield the look-ups in a float table, with the table."""
    constants = initializers(model)
    for node in list(model.graph.node):
        table = constants.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.data_type != onnx.TensorProto.FLOAT or len(table.dims) != 2:
            continue
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        if axis == 0 and table.dims[0] * table.dims[1] >= SMALLEST:
            yield node, table


def _key(tensor: onnx.TensorProto) -> bytes:
    return hashlib.sha256(numpy_helper.to_array(tensor).tobytes()).digest()


def _tied(model: onnx.ModelProto) -> tuple[str, str] | None:
    """Return the names of the embedding and of the head's weight where the second is the first, transposed."""
    node, constants = head(model), initializers(model)
    if node is None:
        return None
    weight = numpy_helper.to_array(constants[node.input[1]])
    for _, table in embeddings(model):
        if list(table.dims) == list(weight.shape[::-1]) and np.array_equal(numpy_helper.to_array(table), weight.T):
            return table.name, node.input[1]
    return None


def _share_head(model: onnx.ModelProto, embedding: str, weight: str) -> None:
    """Read the head's weight from the embedding; onnxruntime transposes it once, when it loads the graph."""
    turn = onnx.helper.make_node("Transpose", [embedding], [weight], name="yoyak.head", perm=[1, 0])
    model.graph.node.insert(0, turn)
    kept = [tensor for tensor in model.graph.initializer if tensor.name != weight]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _int8(model: onnx.ModelProto, settings: Export) -> onnx.ModelProto:
    """Return the graph with its products with constants in INT8, by Optimum's settings for the processor."""
    from optimum.onnxruntime import ORTQuantizer

    config = _config(settings, list(variable_products(model.graph)))
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        path = Path(temporary, "graph.onnx")
        onnx.save(model, path, save_as_external_data=True, location="graph.bin")
        quiet = [logging.getLogger(name) for name in ("optimum", "root", "transformers")]
        levels = [logger.level for logger in quiet]
        for logger in quiet:
            logger.setLevel(logging.ERROR)
        try:
            from transformers import PretrainedConfig

            ORTQuantizer(path, PretrainedConfig()).quantize(config, temporary, file_suffix="int8")
        finally:
            for logger, level in zip(quiet, levels, strict=True):
                logger.setLevel(level)
        return onnx.load(Path(temporary, "graph_int8.onnx"))


def _config(settings: Export, excluded: Sequence[str] = ()) -> QuantizationConfig:
    from optimum.onnxruntime import AutoQuantizationConfig

    cpu = find_cpu() if settings.cpu == "auto" else settings.cpu
    made: QuantizationConfig = getattr(AutoQuantizationConfig, cpu)(
        is_static=False,
        per_channel=settings.per_channel,
        operators_to_quantize=["MatMul"],
        nodes_to_exclude=list(excluded),
    )
    return made


def variable_products(graph: onnx.GraphProto, outer: frozenset[str] = frozenset()) -> Iterator[str]:
    """Yield the names of the products whose second factor is no constant, in the branches of the graph too."""
    constants = outer | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] not in constants:
            yield node.name
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                yield from variable_products(inner, frozenset(constants))


def _take_head(model: onnx.ModelProto, weight: str) -> Rows:
    """Return the rows of the quantized head, and let the graph read them transposed from under the same name."""
    constants = initializers(model)
    name = f"{weight}_quantized"
    values = numpy_helper.to_array(constants[name]).T
    zero = numpy_helper.to_array(constants[f"{weight}_zero_point"])
    rows = Rows(
        np.ascontiguousarray(values),
        numpy_helper.to_array(constants[f"{weight}_scale"]),
        zero.reshape(-1)[:1].reshape(()),
    )
    constants[name].CopyFrom(numpy_helper.from_array(rows.values, "yoyak.head_rows"))
    model.graph.node.insert(
        0, onnx.helper.make_node("Transpose", ["yoyak.head_rows"], [name], name="yoyak.head", perm=[1, 0])
    )
    return rows


def _int8_embeddings(model: onnx.ModelProto, known: dict[bytes, Rows], per_channel: bool) -> None:
    """Look up INT8 rows, and convert those that were looked up to float."""
    for number, (node, table) in enumerate(list(embeddings(model))):
        rows = known.setdefault(_key(table), _rows(numpy_helper.to_array(table), per_channel))
        name = f"yoyak.embedding_{number}"
        constants = [(f"{name}.rows", rows.values)]
        out, looked_up = node.output[0], f"{name}.found"
        if rows.scale.size == 1:
            constants += [(f"{name}.scale", rows.scale.reshape(())), (f"{name}.zero", rows.zero)]
            behind: list[tuple[str, list[str], str, dict[str, Any]]] = [
                ("DequantizeLinear", [looked_up, f"{name}.scale", f"{name}.zero"], out, {})
            ]
        else:
            constants += [
                (f"{name}.scale", rows.scale.reshape(-1, 1)),
                (f"{name}.zero", rows.zero.astype(np.float32)),
            ]
            behind = [
                ("Cast", [looked_up], f"{name}.cast", {"to": onnx.TensorProto.FLOAT}),
                ("Sub", [f"{name}.cast", f"{name}.zero"], f"{name}.centred", {}),
                ("Gather", [f"{name}.scale", node.input[1]], f"{name}.scales", {"axis": 0}),
                ("Mul", [f"{name}.centred", f"{name}.scales"], out, {}),
            ]
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), key) for key, array in constants)
        position = list(model.graph.node).index(node) + 1
        node.input[0], node.output[0] = f"{name}.rows", looked_up
        for step, (kind, inputs, output, attributes) in enumerate(behind):
            made = onnx.helper.make_node(kind, inputs, [output], name=f"{name}.{kind}", **attributes)
            model.graph.node.insert(position + step, made)


def _rows(table: Array, per_channel: bool) -> Rows:
    """Return a table in symmetric INT8."""
    highest = np.abs(table).max(axis=1 if per_channel else None)
    scale = np.asarray(np.maximum(highest, np.finfo(np.float32).tiny) / 127, dtype=np.float32)
    values = np.rint(table / (scale[:, None] if per_channel else scale)).clip(-127, 127).astype(np.int8)
    return Rows(values, scale, np.zeros((), dtype=np.int8))


def _int4(model: onnx.ModelProto) -> None:
    """Put the constants of products, and embeddings, into 4 bits; activations stay in float."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
    from onnxruntime.quantization.onnx_model import ONNXModel

    ONNXModel(model).replace_gemm_with_matmul()
    for number, (node, table) in enumerate(list(embeddings(model))):
        if table.dims[1] % BLOCK:
            continue
        packed, scales = _pack(numpy_helper.to_array(table))
        name = f"yoyak.embedding_{number}"
        model.graph.initializer.extend(
            [numpy_helper.from_array(packed, f"{name}.rows"), numpy_helper.from_array(scales, f"{name}.scale")]
        )
        position = list(model.graph.node).index(node)
        made = onnx.helper.make_node(
            "GatherBlockQuantized", [f"{name}.rows", node.input[1], f"{name}.scale"], [node.output[0]], name=name,
            domain="com.microsoft", bits=4, block_size=BLOCK, gather_axis=0, quantize_axis=1,
        )  # fmt: skip
        model.graph.node.remove(node)
        model.graph.node.insert(position, made)
    quantizer = MatMulNBitsQuantizer(
        model, bits=4, block_size=BLOCK, is_symmetric=True, accuracy_level=4, op_types_to_quantize=("MatMul",)
    )
    quantizer.process()
    if quantizer.model.model is not model:
        model.CopyFrom(quantizer.model.model)
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    drop_unused(model)


def _pack(table: Array) -> tuple[Array, Array]:
    """Return a table in 4 bits as onnxruntime packs the head that is tied to it, and the scales of its blocks."""
    from onnxruntime.capi._pybind_state import quantize_matmul_4bits

    rows, width = table.shape
    blocks = width // BLOCK
    packed = np.zeros((rows, blocks, BLOCK // 2), dtype=np.uint8)
    scales = np.zeros((rows, blocks), dtype=np.float32)
    zero = np.zeros((rows, (blocks + 1) // 2), dtype=np.uint8)
    quantize_matmul_4bits(packed, np.ascontiguousarray(table.T), scales, zero, BLOCK, rows, width, True)
    return packed.reshape(rows, width // 2), scales
