"""The cross-attention cache in 8 bits: the encoder writes it so once, and each step reads a quarter of the bytes.

A step reads the whole cache of every dialogue for each token, more bytes than the weights have from a few dialogues
on. Quantized by the encoder, it is not quantized anew in each step, which is what makes other products of two
activations slower in INT8 than in float.

Scales are fine, so that little is lost: one for each dialogue, head and feature of the keys and values. The first are
multiplied into the queries, the second into what was mixed; queries have a scale for each row. Probabilities are
divided by the largest of their row before they are rounded, and multiplied by it behind the product: a row that
attends to everything a little keeps as many levels as one that attends to a single token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from yoyak.export.cross import read_by
from yoyak.export.edit import PAST, producers

Step = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, output, attributes."""
OWN = "com.microsoft"
"""The domain of onnxruntime's own operators."""


def quantize_cross_cache(encoder: onnx.ModelProto, decoder: onnx.ModelProto, *, signed: bool) -> None:
    """Let the encoder write its cache in 8 bits, with scales beside it, and the decoder attend to that.

    ``signed`` says whether the numbers are INT8, or UINT8 around 128: as the processor multiplies weights. Keys are
    [dialogues, heads, features, tokens], values [dialogues, heads, tokens, features], scales [dialogues, heads, 1,
    features].
    """
    kind = TensorProto.INT8 if signed else TensorProto.UINT8
    zero = np.array(0, np.int8) if signed else np.array(128, np.uint8)
    numbers: dict[str, npt.NDArray[Any]] = {
        "axes.2": np.array([2], np.int64),
        "axes.3": np.array([3], np.int64),
        "one": np.array(1, np.float32),
        "least": np.array(np.finfo(np.float32).tiny * 256, np.float32),
        "part_127": np.array(1 / 127, np.float32),
        "part_255": np.array(1 / 255, np.float32),
        "zero": zero,
        "middle": np.array(128, np.uint8),
        "bottom": np.array(0, np.uint8),
    }
    for model in (encoder, decoder):
        model.graph.initializer.extend(numpy_helper.from_array(array, f"cache.{key}") for key, array in numbers.items())
        if not any(entry.domain == OWN for entry in model.opset_import):
            model.opset_import.append(onnx.helper.make_opsetid(OWN, 1))
    for value in [one for one in decoder.graph.input if one.name.startswith(PAST) and ".encoder." in one.name]:
        _write(encoder, value.name)
        _attend(decoder, value.name)
        for held in (value, next(out for out in encoder.graph.output if out.name == value.name)):
            held.type.tensor_type.elem_type = kind
        dialogues, heads, *sides = (one.dim_param or one.dim_value for one in value.type.tensor_type.shape.dim)
        size = next(side for side in sides if isinstance(side, int))
        scale = onnx.helper.make_tensor_value_info(
            f"{value.name}_scale", TensorProto.FLOAT, [dialogues, heads, 1, size]
        )
        encoder.graph.output.append(scale)
        decoder.graph.input.append(scale)


def _write(encoder: onnx.ModelProto, name: str) -> None:
    """Quantize what the encoder has written under a name."""
    node = producers(encoder)[name]
    node.output[list(node.output).index(name)] = f"{name}.float"
    is_key = name.endswith(".key")
    scale, raw = f"{name}_scale", f"{name}.scale" if is_key else f"{name}_scale"
    steps: list[Step] = [
        ("Abs", [f"{name}.float"], f"{name}.abs", {}),
        ("ReduceMax", [f"{name}.abs", "cache.axes.3" if is_key else "cache.axes.2"], f"{name}.max", {}),
        ("Max", [f"{name}.max", "cache.least"], f"{name}.above", {}),
        ("Mul", [f"{name}.above", "cache.part_127"], raw, {}),
        ("Div", [f"{name}.float", raw], f"{name}.divided", {}),
        ("QuantizeLinear", [f"{name}.divided", "cache.one", "cache.zero"], name, {}),
    ]
    if is_key:
        steps.append(("Transpose", [raw], scale, {"perm": [0, 1, 3, 2]}))
    encoder.graph.node.extend(_nodes(encoder, name, steps))


def _attend(decoder: onnx.ModelProto, name: str) -> None:
    """Let the product that reads a part of the cache do so in 8 bits."""
    product = read_by(decoder, name, producers(decoder))
    operand, result = product.input[0], product.output[0]
    scaled, largest = f"{name}.scaled", f"{name}.largest"
    rounded: list[Step]
    after: list[Step]
    if name.endswith(".key"):
        rounded = [
            ("Mul", [operand, f"{name}_scale"], scaled, {}),
            ("Abs", [scaled], f"{name}.abs", {}),
            ("ReduceMax", [f"{name}.abs", "cache.axes.3"], f"{name}.max", {}),
            ("Max", [f"{name}.max", "cache.least"], largest, {}),
            ("Div", [scaled, largest], f"{name}.divided", {}),
            ("QuantizeLinear", [f"{name}.divided", "cache.part_127", "cache.middle"], f"{name}.rounded", {}),
        ]
        step, zero = "cache.part_127", "cache.middle"
        after = [("Mul", [f"{name}.product", largest], result, {})]
    else:
        rounded = [
            ("ReduceMax", [operand, "cache.axes.3"], largest, {}),
            ("Div", [operand, largest], f"{name}.divided", {}),
            ("QuantizeLinear", [f"{name}.divided", "cache.part_255", "cache.bottom"], f"{name}.rounded", {}),
        ]
        step, zero = "cache.part_255", "cache.bottom"
        after = [
            ("Mul", [f"{name}.product", largest], f"{name}.mixed_rows", {}),
            ("Mul", [f"{name}.mixed_rows", f"{name}_scale"], result, {}),
        ]
    multiplied: Step = (
        "MatMulIntegerToFloat",
        [f"{name}.rounded", name, step, "cache.one", zero, "cache.zero"],
        f"{name}.product",
        {"domain": OWN},
    )
    position = list(decoder.graph.node).index(product)
    decoder.graph.node.remove(product)
    for ahead, node in enumerate(_nodes(decoder, name, [*rounded, multiplied, *after])):
        decoder.graph.node.insert(position + ahead, node)


def _nodes(model: onnx.ModelProto, name: str, steps: list[Step]) -> list[onnx.NodeProto]:
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    nodes = []
    for kind, inputs, output, attributes in steps:
        read, more = inputs, attributes
        if kind == "ReduceMax" and version < 18:
            # The axes were an attribute before.
            read, more = inputs[:1], {"axes": [int(inputs[1][-1])]}
        nodes.append(onnx.helper.make_node(kind, read, [output], name=f"{output}.{kind}", **more))
    return nodes
