"""Products with constants in INT8: how their weights and their activations are rounded.

The rows of a batch must not change each other's results, so the scale of an activation is a constant, found by
`calibrate`, or is computed for each row. Products that read the same value share its rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from yoyak.export.edit import ORT_DOMAIN, Step, import_ort_operators, initializers, make_nodes, readers

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Rounded:
    """A constant in 8 bits."""

    values: Array
    scale: Floats
    """For the whole constant, or for each index of one of its axes."""
    zero: Array
    """Zero point: a scalar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantScale:
    """Activations between two bounds, known before they are computed."""

    low: float
    high: float
    divisors: Floats | None = None
    """What each feature is divided by first; the weights are multiplied by it. None means no division."""

    @property
    def step(self) -> np.float32:
        """Difference between two levels."""
        return np.float32(max(self.high - self.low, float(np.finfo(np.float32).tiny) * 256) / 255)

    @property
    def zero(self) -> np.uint8:
        """The level of 0."""
        return np.uint8(np.clip(np.rint(-self.low / self.step), 0, 255))

    def round(self, divided: Floats) -> Floats:
        """Return what is left of activations, already divided, after rounding."""
        levels = np.clip(np.rint(divided / self.step) + np.float32(self.zero), 0, 255)
        return (levels - np.float32(self.zero)) * self.step


@dataclass(frozen=True, slots=True)
class Group:
    """Products with constants that read the same value."""

    value: str
    products: tuple[onnx.NodeProto, ...]


def round_symmetrically(array: Array, axis: int | None, *, signed: bool = True) -> Rounded:
    """Return a constant in 8 bits, with a scale for each index of ``axis``, or with one for all.

    Unsigned values are around 128.
    """
    others = None if axis is None else tuple(other for other in range(array.ndim) if other != axis)
    largest = np.abs(array).max(axis=others)
    scale = np.asarray(np.maximum(largest, np.finfo(np.float32).tiny) / 127, dtype=np.float32)
    shape = [1] * array.ndim
    if axis is not None:
        shape[axis] = -1
    levels = np.rint(array / (scale if axis is None else scale.reshape(shape))).clip(-127, 127)
    if signed:
        return Rounded(levels.astype(np.int8), scale, np.zeros((), np.int8))
    return Rounded((levels + 128).astype(np.uint8), scale, np.full((), 128, np.uint8))


def find_groups(model: onnx.ModelProto) -> list[Group]:
    """Return the products with matrices of constants, by the value that they read, in the order of the graph."""
    constants = initializers(model)
    groups: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants and len(constants[node.input[1]].dims) == 2:
            groups.setdefault(node.input[0], []).append(node)
    return [Group(value, tuple(products)) for value, products in groups.items()]


def quantize_products(
    model: onnx.ModelProto,
    scales: Mapping[str, ConstantScale],
    *,
    per_batch: bool,
    signed: bool,
    per_channel: bool,
) -> dict[str, Rounded]:
    """Replace the products with constants by products in 8 bits; return the weights by their names.

    Args:
        model: The graph, which is changed.
        scales: The constant scales, by the name of the value that is rounded. All others have a scale for each row.
        per_batch: Give a whole batch one scale in place of one for each row.
        signed: Whether weights are INT8; otherwise they are UINT8 around 128.
        per_channel: Whether each output of a weight has a scale of its own.
    """
    import_ort_operators(model)
    constants, read_by = initializers(model), readers(model)
    weights: dict[str, Rounded] = {}
    replaced: dict[str, list[onnx.NodeProto]] = {}
    dropped: set[str] = set()
    for number, group in enumerate(find_groups(model)):
        scale = scales.get(group.value)
        name = f"yoyak.rounded_{number}"
        if per_batch:
            rounding = _round_batch(group.value, name)
        elif scale is not None:
            rounding = _round_constantly(model, group.value, name, scale)
        else:
            rounding = _round_rows(model, group.value, name)
        nodes = list(rounding.nodes)
        for product in group.products:
            weight = product.input[1]
            if weight not in weights:
                array = numpy_helper.to_array(constants[weight])
                divisors = None if scale is None else scale.divisors
                weights[weight] = round_symmetrically(
                    array if divisors is None else array * divisors[:, None], 1 if per_channel else None, signed=signed
                )
                _store(model, weight, weights[weight])
            bias = None if rounding.factor else _find_bias(product, read_by, constants)
            nodes += _multiply(model, product, rounding, bias)
            if bias is not None:
                dropped.add(bias.output[0])
        replaced[group.products[0].output[0]] = nodes
        dropped |= {product.output[0] for product in group.products}
    kept: list[onnx.NodeProto] = []
    for node in model.graph.node:
        kept += replaced.get(node.output[0], [])
        if node.output[0] not in dropped:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return weights


@dataclass(frozen=True, slots=True)
class _Rounding:
    """The nodes that round an activation, and the names of what they compute."""

    nodes: Sequence[onnx.NodeProto]
    levels: str
    scale: str
    zero: str
    factor: str = ""
    """What each row of a product is multiplied by."""


def _round_batch(value: str, name: str) -> _Rounding:
    names = (f"{name}.levels", f"{name}.scale", f"{name}.zero")
    return _Rounding([onnx.helper.make_node("DynamicQuantizeLinear", [value], list(names), name=name)], *names)


def _round_constantly(model: onnx.ModelProto, value: str, name: str, scale: ConstantScale) -> _Rounding:
    constants: dict[str, Array] = {"scale": np.asarray(scale.step), "zero": np.asarray(scale.zero)}
    steps: list[Step] = []
    if scale.divisors is not None:
        constants["factors"] = 1 / scale.divisors
        steps.append(("Mul", [value, f"{name}.factors"], f"{name}.scaled", {}))
        value = f"{name}.scaled"
    steps.append(("QuantizeLinear", [value, f"{name}.scale", f"{name}.zero"], f"{name}.levels", {}))
    _add_constants(model, name, constants)
    return _Rounding(make_nodes(model, steps), f"{name}.levels", f"{name}.scale", f"{name}.zero")


def _round_rows(model: onnx.ModelProto, value: str, name: str) -> _Rounding:
    """Divide each row by its largest magnitude, and round it to levels from -127 to 127 around 128."""
    constants: dict[str, Array] = {
        "axis": np.array([-1], np.int64),
        "least": np.array(np.finfo(np.float32).tiny * 256, np.float32),
        "scale": np.array(1 / 127, np.float32),
        "zero": np.array(128, np.uint8),
    }
    _add_constants(model, name, constants)
    steps: list[Step] = [
        ("Abs", [value], f"{name}.abs", {}),
        ("ReduceMax", [f"{name}.abs", f"{name}.axis"], f"{name}.max", {}),
        ("Max", [f"{name}.max", f"{name}.least"], f"{name}.largest", {}),
        ("Div", [value, f"{name}.largest"], f"{name}.divided", {}),
        ("QuantizeLinear", [f"{name}.divided", f"{name}.scale", f"{name}.zero"], f"{name}.levels", {}),
    ]
    nodes = make_nodes(model, steps)
    return _Rounding(nodes, f"{name}.levels", f"{name}.scale", f"{name}.zero", f"{name}.largest")


def _multiply(
    model: onnx.ModelProto, product: onnx.NodeProto, rounding: _Rounding, bias: onnx.NodeProto | None
) -> list[onnx.NodeProto]:
    """Return the product in 8 bits, with a bias if there is one."""
    weight, out = product.input[1], product.output[0]
    inputs = [
        rounding.levels, f"{weight}_quantized", rounding.scale, f"{weight}_scale", rounding.zero, f"{weight}_zero_point"
    ]  # fmt: skip
    if bias is not None:
        inputs.append(next(name for name in bias.input if name != out))
        out = bias.output[0]
    steps: list[Step] = []
    if rounding.factor:
        steps.append(("Mul", [f"{out}.unscaled", rounding.factor], out, {}))
        out = f"{out}.unscaled"
    node = onnx.helper.make_node("MatMulIntegerToFloat", inputs, [out], name=product.name, domain=ORT_DOMAIN)
    return [node, *make_nodes(model, steps)]


def _find_bias(
    product: onnx.NodeProto, read_by: Mapping[str, Sequence[onnx.NodeProto]], constants: Mapping[str, onnx.TensorProto]
) -> onnx.NodeProto | None:
    """Return the only reader of a product if it adds a constant to each of its columns."""
    followers = read_by.get(product.output[0], ())
    if len(followers) != 1 or followers[0].op_type != "Add":
        return None
    added = [name for name in followers[0].input if name in constants]
    columns = [constants[product.input[1]].dims[1]]
    return followers[0] if len(added) == 1 and list(constants[added[0]].dims) == columns else None


def _store(model: onnx.ModelProto, name: str, rounded: Rounded) -> None:
    zero = np.full(rounded.scale.shape, rounded.zero)
    parts = (("quantized", rounded.values), ("scale", rounded.scale), ("zero_point", zero))
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(array), f"{name}_{key}") for key, array in parts)


def _add_constants(model: onnx.ModelProto, name: str, constants: Mapping[str, Array]) -> None:
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), f"{name}.{key}") for key, array in constants.items()
    )
