"""Quantizing graphs to INT8 or 4-bit weights; an embedding and the head that is tied to it share their weights.

INT8 is limited to products with a constant: for QKᵀ and AV, the whole cache would be quantized again in each step,
which is slower by a factor of 1.7 or more. Embeddings are stored in INT8 (or 4 bits), and only the rows that are looked
up are converted to float.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from yoyak.cpu import has_vnni
from yoyak.export.cache import quantize_cross_cache
from yoyak.export.edit import Graphs, drop_unused, find_head, initializers
from yoyak.export.products import ConstantScale, Rounded, quantize_products, round_symmetrically
from yoyak.params.deploy import Export

Cpu = Literal["avx512_vnni", "avx2", "arm64"]
Array = npt.NDArray[Any]
MIN_EMBEDDING_SIZE = 4096
"""Elements from which a lookup table counts as an embedding; T5's table of position biases stays in float."""
BLOCK_SIZE = 32
"""Number of 4-bit weights that share a scale."""


def detect_cpu() -> Cpu:
    """Return the name of this machine's kind of processor."""
    if platform.machine().lower() in ("arm64", "aarch64"):
        return "arm64"
    return "avx512_vnni" if has_vnni() else "avx2"


def quantize(graphs: Graphs, settings: Export, scales: Mapping[str, Mapping[str, ConstantScale]] | None = None) -> None:
    """Change the graphs to the precision of the settings. In fp32, a tied head reads its weight from the embedding.

    Args:
        graphs: The graphs of `export_graphs`, which are changed.
        settings: Their precision.
        scales: For each graph, the constant scales of its activations in INT8; others have a scale for each row.
    """
    if settings.precision == "int4":
        for model in graphs.values():
            _quantize_int4(model)
        return
    tables: dict[bytes, Rounded] = {}
    # Without VNNI, products of unsigned with signed bytes overflow.
    signed = (detect_cpu() if settings.cpu == "auto" else settings.cpu) != "avx2"
    # The decoder comes first: its quantized head is also the embedding, in the encoder too.
    for name in sorted(graphs):
        model = graphs[name]
        tied = _find_tied_head(model)
        if settings.precision == "fp32":
            if tied:
                _share_head(model, *tied)
            continue
        weights = quantize_products(
            model,
            (scales or {}).get(name, {}),
            per_batch=settings.activations == "batch",
            signed=signed,
            per_channel=settings.per_channel,
        )
        if tied:
            embedding, weight = tied
            key = _hash_tensor(initializers(model)[embedding])
            tables[key] = _share_rounded_head(model, weight, weights[weight])
        _quantize_embeddings(model, tables, settings.per_channel)
    if settings.precision == "int8" and "encoder" in graphs:
        quantize_cross_cache(graphs["encoder"], graphs["decoder"], signed=signed)
    for model in graphs.values():
        drop_unused(model)


def find_embeddings(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, onnx.TensorProto]]:
    """Yield the lookups in large float tables, with the table."""
    constants = initializers(model)
    for node in list(model.graph.node):
        table = constants.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or table.data_type != onnx.TensorProto.FLOAT or len(table.dims) != 2:
            continue
        axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
        if axis == 0 and table.dims[0] * table.dims[1] >= MIN_EMBEDDING_SIZE:
            yield node, table


def _hash_tensor(tensor: onnx.TensorProto) -> bytes:
    return hashlib.sha256(numpy_helper.to_array(tensor).tobytes()).digest()


def _find_tied_head(model: onnx.ModelProto) -> tuple[str, str] | None:
    """Return the names of the embedding and of the head's weight if the weight is the transposed embedding."""
    node, constants = find_head(model), initializers(model)
    if node is None:
        return None
    weight = numpy_helper.to_array(constants[node.input[1]])
    for _, table in find_embeddings(model):
        if list(table.dims) == list(weight.shape[::-1]) and np.array_equal(numpy_helper.to_array(table), weight.T):
            return table.name, node.input[1]
    return None


def _share_head(model: onnx.ModelProto, embedding: str, weight: str) -> None:
    """Read the head's weight from the embedding; onnxruntime transposes it once, when it loads the graph."""
    transpose = onnx.helper.make_node("Transpose", [embedding], [weight], name="yoyak.head", perm=[1, 0])
    model.graph.node.insert(0, transpose)
    kept = [tensor for tensor in model.graph.initializer if tensor.name != weight]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _share_rounded_head(model: onnx.ModelProto, weight: str, rounded: Rounded) -> Rounded:
    """Let the graph compute the head's weight in 8 bits as the transpose of a table, and return that table."""
    name = f"{weight}_quantized"
    rows = Rounded(np.ascontiguousarray(rounded.values.T), rounded.scale, rounded.zero)
    initializers(model)[name].CopyFrom(numpy_helper.from_array(rows.values, "yoyak.head_rows"))
    model.graph.node.insert(
        0, onnx.helper.make_node("Transpose", ["yoyak.head_rows"], [name], name="yoyak.head", perm=[1, 0])
    )
    return rows


def _quantize_embeddings(model: onnx.ModelProto, tables: dict[bytes, Rounded], per_channel: bool) -> None:
    """Store embeddings in INT8, and convert the rows that are looked up to float."""
    for number, (node, table) in enumerate(list(find_embeddings(model))):
        array = numpy_helper.to_array(table)
        rows = tables.setdefault(_hash_tensor(table), round_symmetrically(array, 0 if per_channel else None))
        name = f"yoyak.embedding_{number}"
        constants = [(f"{name}.rows", rows.values)]
        out, looked_up = node.output[0], f"{name}.looked_up"
        if rows.scale.size == 1:
            constants += [(f"{name}.scale", rows.scale.reshape(())), (f"{name}.zero", rows.zero)]
            steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
                ("DequantizeLinear", [looked_up, f"{name}.scale", f"{name}.zero"], out, {})
            ]
        else:
            constants += [
                (f"{name}.scale", rows.scale.reshape(-1, 1)),
                (f"{name}.zero", rows.zero.astype(np.float32)),
            ]
            steps = [
                ("Cast", [looked_up], f"{name}.cast", {"to": onnx.TensorProto.FLOAT}),
                ("Sub", [f"{name}.cast", f"{name}.zero"], f"{name}.centred", {}),
                ("Gather", [f"{name}.scale", node.input[1]], f"{name}.scales", {"axis": 0}),
                ("Mul", [f"{name}.centred", f"{name}.scales"], out, {}),
            ]
        model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), key) for key, array in constants)
        position = list(model.graph.node).index(node) + 1
        node.input[0], node.output[0] = f"{name}.rows", looked_up
        for step, (kind, inputs, output, attributes) in enumerate(steps):
            new_node = onnx.helper.make_node(kind, inputs, [output], name=f"{name}.{kind}", **attributes)
            model.graph.node.insert(position + step, new_node)


def _quantize_int4(model: onnx.ModelProto) -> None:
    """Quantize the constants of products and the embeddings to 4 bits; activations stay in float."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    for number, (node, table) in enumerate(list(find_embeddings(model))):
        if table.dims[1] % BLOCK_SIZE:
            continue
        packed, scales = _pack_int4(numpy_helper.to_array(table))
        name = f"yoyak.embedding_{number}"
        model.graph.initializer.extend(
            [numpy_helper.from_array(packed, f"{name}.rows"), numpy_helper.from_array(scales, f"{name}.scale")]
        )
        position = list(model.graph.node).index(node)
        lookup = onnx.helper.make_node(
            "GatherBlockQuantized", [f"{name}.rows", node.input[1], f"{name}.scale"], [node.output[0]], name=name,
            domain="com.microsoft", bits=4, block_size=BLOCK_SIZE, gather_axis=0, quantize_axis=1,
        )  # fmt: skip
        model.graph.node.remove(node)
        model.graph.node.insert(position, lookup)
    quantizer = MatMulNBitsQuantizer(
        model, bits=4, block_size=BLOCK_SIZE, is_symmetric=True, accuracy_level=4, op_types_to_quantize=("MatMul",)
    )
    quantizer.process()
    if quantizer.model.model is not model:
        model.CopyFrom(quantizer.model.model)
    if not any(entry.domain == "com.microsoft" for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    drop_unused(model)


def _pack_int4(table: Array) -> tuple[Array, Array]:
    """Return a table in 4 bits, packed as onnxruntime packs the tied head, and the scales of its blocks."""
    from onnxruntime.capi._pybind_state import quantize_matmul_4bits

    rows, width = table.shape
    blocks = width // BLOCK_SIZE
    packed = np.zeros((rows, blocks, BLOCK_SIZE // 2), dtype=np.uint8)
    scales = np.zeros((rows, blocks), dtype=np.float32)
    zero = np.zeros((rows, (blocks + 1) // 2), dtype=np.uint8)
    quantize_matmul_4bits(packed, np.ascontiguousarray(table.T), scales, zero, BLOCK_SIZE, rows, width, True)
    return packed.reshape(rows, width // 2), scales
