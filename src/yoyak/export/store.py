"""Writing graphs to disk: each weight once, in one file that all graphs share; and listing what stayed in float."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

from yoyak.export.edit import Graphs, initializers

WEIGHTS = "weights.bin"
MIN_EXTERNAL_BYTES = 1024
"""Bytes from which a constant is stored in the file of weights."""
PAGE_SIZE = 4096
FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16)


def write_graphs(graphs: Graphs, folder: Path) -> int:
    """Write ``<name>.onnx`` for each graph and one file of weights; return the size of the latter in bytes.

    Constants with the same bytes are stored once, whatever graph, name or shape they have.
    """
    locations: dict[bytes, tuple[int, int]] = {}
    with (folder / WEIGHTS).open("wb") as out:
        for name, model in graphs.items():
            for tensor in model.graph.initializer:
                content = numpy_helper.to_array(tensor).tobytes()
                if len(content) < MIN_EXTERNAL_BYTES:
                    continue
                key = hashlib.sha256(content).digest()
                if key not in locations:
                    # Align large weights to pages, so that they can be memory-mapped.
                    step = PAGE_SIZE if len(content) >= 64 * PAGE_SIZE else 64
                    out.write(b"\0" * (-out.tell() % step))
                    locations[key] = (out.tell(), len(content))
                    out.write(content)
                _store_externally(tensor, *locations[key])
            onnx.save(model, folder / f"{name}.onnx")
        return out.tell()


def _store_externally(tensor: TensorProto, offset: int, length: int) -> None:
    dims, kind, name = list(tensor.dims), tensor.data_type, tensor.name
    tensor.Clear()
    tensor.name, tensor.data_type = name, kind
    tensor.dims.extend(dims)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", WEIGHTS), ("offset", str(offset)), ("length", str(length))):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value


def list_ops(graphs: Graphs) -> dict[str, Any]:
    """List what stayed in float, with sizes: constants by graph and reader, and products of two activations."""
    bytes_by_type: Counter[str] = Counter()
    floats, products, counts = [], [], {}
    for graph, model in graphs.items():
        constants = initializers(model)
        for tensor in constants.values():
            bytes_by_type[TensorProto.DataType.Name(tensor.data_type).lower()] += numpy_helper.to_array(tensor).nbytes
        counts[graph] = dict(sorted(Counter(node.op_type for node in model.graph.node).items()))
        seen = set()
        for node in model.graph.node:
            if node.op_type in ("MatMul", "Gemm") and not set(node.input) & constants.keys():
                products.append({"graph": graph, "node": node.name, "op": node.op_type})
            for name in node.input:
                if name in constants and name not in seen and constants[name].data_type in FLOATS:
                    seen.add(name)
                    array = numpy_helper.to_array(constants[name])
                    floats.append(
                        {"graph": graph, "node": node.name, "op": node.op_type, "weight": name,
                         "shape": list(array.shape), "bytes": array.nbytes}
                    )  # fmt: skip
    return {
        "bytes_by_type": dict(bytes_by_type.most_common()),
        "float_bytes_by_op": _sum_bytes_by_op(floats),
        "float_weights": sorted(floats, key=lambda row: -row["bytes"]),
        "float_products_of_activations": products,
        "ops": counts,
    }


def _sum_bytes_by_op(rows: list[dict[str, Any]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for row in rows:
        total[row["op"]] += row["bytes"]
    return dict(total.most_common())
