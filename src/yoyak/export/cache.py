"""The cross-attention cache in 8 bits: the encoder quantizes it once, and each step reads a quarter of the bytes.

A step reads the whole cache of every dialogue for each token; from a few dialogues on, that is more bytes than the
weights have. Other products of two activations are slower in INT8 than in float because both factors have to be
quantized in each step; here the encoder has done so for the cache.

Scales are fine-grained to lose little precision: one for each dialogue, head and feature of the keys and values. Those
of the keys are multiplied into the queries, those of the values into the result. Queries have a scale per row. Padding
has no part in a scale, so that a dialogue has the same cache in any batch.
Probabilities are divided by the maximum of their row before rounding and multiplied by it after the product, so that a
row that attends to everything a little has as many levels as one that attends to a single token.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from yoyak.export.cross import find_reader
from yoyak.export.edit import ORT_DOMAIN, PAST, Step, import_ort_operators, make_nodes, producers


def quantize_cross_cache(encoder: onnx.ModelProto, decoder: onnx.ModelProto, *, signed: bool) -> None:
    """Let the encoder output its cache in 8 bits, with scales, and the decoder attend to it.

    ``signed`` selects INT8; otherwise it is UINT8 around 128. It should be the type of the quantized weights. Keys are
    [dialogues, heads, features, tokens], values [dialogues, heads, tokens, features], scales [dialogues, heads, 1,
    features].
    """
    kind = TensorProto.INT8 if signed else TensorProto.UINT8
    zero = np.array(0, np.int8) if signed else np.array(128, np.uint8)
    numbers: dict[str, npt.NDArray[Any]] = {
        "axes.2": np.array([2], np.int64),
        "axes.3": np.array([3], np.int64),
        "key_axes": np.array([1, 2], np.int64),
        "value_axes": np.array([1, 3], np.int64),
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
        import_ort_operators(model)
    mask: list[Step] = [
        ("Cast", ["attention_mask"], "cache.mask", {"to": TensorProto.FLOAT}),
        ("Unsqueeze", ["cache.mask", "cache.key_axes"], "cache.key_mask", {}),
        ("Unsqueeze", ["cache.mask", "cache.value_axes"], "cache.value_mask", {}),
    ]
    encoder.graph.node.extend(make_nodes(encoder, mask))
    caches = [value for value in decoder.graph.input if value.name.startswith(PAST) and ".encoder." in value.name]
    for value in caches:
        _quantize_output(encoder, value.name)
        _quantize_product(decoder, value.name)
        for declared in (value, next(out for out in encoder.graph.output if out.name == value.name)):
            declared.type.tensor_type.elem_type = kind
        dialogues, heads, *rest = (size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim)
        features = next(size for size in rest if isinstance(size, int))
        scale = onnx.helper.make_tensor_value_info(
            f"{value.name}_scale", TensorProto.FLOAT, [dialogues, heads, 1, features]
        )
        encoder.graph.output.append(scale)
        decoder.graph.input.append(scale)


def _quantize_output(encoder: onnx.ModelProto, name: str) -> None:
    """Quantize the encoder's output of this name."""
    node = producers(encoder)[name]
    node.output[list(node.output).index(name)] = f"{name}.float"
    is_key = name.endswith(".key")
    scale, raw = f"{name}_scale", f"{name}.scale" if is_key else f"{name}_scale"
    steps: list[Step] = [
        ("Abs", [f"{name}.float"], f"{name}.abs", {}),
        ("Mul", [f"{name}.abs", "cache.key_mask" if is_key else "cache.value_mask"], f"{name}.read", {}),
        ("ReduceMax", [f"{name}.read", "cache.axes.3" if is_key else "cache.axes.2"], f"{name}.max", {}),
        ("Max", [f"{name}.max", "cache.least"], f"{name}.above", {}),
        ("Mul", [f"{name}.above", "cache.part_127"], raw, {}),
        ("Div", [f"{name}.float", raw], f"{name}.divided", {}),
        ("QuantizeLinear", [f"{name}.divided", "cache.one", "cache.zero"], name, {}),
    ]
    if is_key:
        steps.append(("Transpose", [raw], scale, {"perm": [0, 1, 3, 2]}))
    encoder.graph.node.extend(make_nodes(encoder, steps))


def _quantize_product(decoder: onnx.ModelProto, name: str) -> None:
    """Compute the product that reads this part of the cache in 8 bits."""
    product = find_reader(decoder, name, producers(decoder))
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
        {"domain": ORT_DOMAIN},
    )
    position = list(decoder.graph.node).index(product)
    decoder.graph.node.remove(product)
    for offset, node in enumerate(make_nodes(decoder, [*rounded, multiplied, *after])):
        decoder.graph.node.insert(position + offset, node)
