"""Self-attention of beams: all texts of a dialogue share one cache, and a bias says which columns belong to which text.

Each step writes a column for each text and moves none. A bias hides the columns of other texts, and those that are not
written yet, so that a beam which continues another one takes over its columns without a copy. If a cache is bound as
input and output, the columns are written in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from yoyak.export.edit import PAST, PRESENT, initializers, producers

BIAS, PLACES, LENGTH = "own_bias", "own_places", "past_length"
"""The inputs that a changed decoder takes: [dialogues, 1, texts, columns], 0 or very low; [dialogues, heads, texts, 3],
the dialogue, head and column that each text's new numbers are written to; and the tokens so far."""
TABLE = 64
"""Size from which a constant behind a mask counts as learned: biases of T5 depend on positions, and columns
are not positions."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The nodes of a layer's self-attention that are changed."""

    reshapes: tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto]
    """They split queries, keys and values into heads."""
    masked: onnx.NodeProto
    """Adds the mask to the scores."""
    mask: int
    """Index of its input that is the mask."""
    joins: tuple[onnx.NodeProto, onnx.NodeProto]
    """They append to keys and values."""


def share_own_cache(decoder: onnx.ModelProto) -> bool:
    """Change a decoder to share one cache among all texts of a dialogue; if its layers are not known, return False.

    An unchanged decoder has a cache for each text, whose rows have to be reordered with the beams.
    """
    keys = [one for one in decoder.graph.input if one.name.startswith(PAST) and one.name.endswith(".decoder.key")]
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in decoder.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    producer_of = producers(decoder)
    lengths = list(_lengths(decoder, {one.name for one in keys}, readers))
    layers = [_layer(one.name.removesuffix(".key"), readers, producer_of) for one in keys]
    known = [layer for layer in layers if layer is not None]
    if not keys or len(known) != len(layers) or not lengths or _has_learned_mask(decoder, known, producer_of):
        return False
    heads, size = (keys[0].type.tensor_type.shape.dim[position].dim_value for position in (1, 3))
    constants = {"own.first": [0], "own.heads": [-1, heads, size]}
    decoder.graph.initializer.extend(
        numpy_helper.from_array(np.array(numbers, dtype=np.int64), key) for key, numbers in constants.items()
    )
    steps = [
        onnx.helper.make_node("Shape", [keys[0].name], ["own.shape"], name="own.Shape"),
        onnx.helper.make_node("Gather", ["own.shape", "own.first"], ["own.dialogues"], name="own.Gather", axis=0),
        onnx.helper.make_node("Concat", ["own.dialogues", "own.heads"], ["own.split"], name="own.Concat", axis=0),
    ]
    for position, node in enumerate(steps):
        decoder.graph.node.insert(position, node)
    for layer in known:
        for node in layer.reshapes:
            node.input[1] = "own.split"
        layer.masked.input[layer.mask] = BIAS
        for join in layer.joins:
            past, new = join.input
            written = onnx.helper.make_node("ScatterND", [past, PLACES, new], list(join.output), name=join.name)
            join.CopyFrom(written)
    for name in lengths:
        for node in readers[name]:
            for position, one in enumerate(node.input):
                node.input[position] = LENGTH if one == name else one
    decoder.graph.input.extend(
        [
            onnx.helper.make_tensor_value_info(BIAS, TensorProto.FLOAT, ["dialogues", 1, "texts", "columns"]),
            onnx.helper.make_tensor_value_info(PLACES, TensorProto.INT64, ["dialogues", heads, "texts", 3]),
            onnx.helper.make_tensor_value_info(LENGTH, TensorProto.INT64, []),
        ]
    )
    held = {one.name.replace(PAST, PRESENT): one for one in decoder.graph.input}
    for out in decoder.graph.output:
        if out.name in held:
            out.type.CopyFrom(held[out.name].type)
    _remove_unused_nodes(decoder)
    return True


def _layer(name: str, readers: dict[str, list[onnx.NodeProto]], producer_of: dict[str, onnx.NodeProto]) -> Layer | None:
    """Return the nodes of the layer whose cache has this name; None if they are not those of BART."""
    joins = [_only_reader(readers, f"{name}.{part}", "Concat") for part in ("key", "value")]
    split = [
        _head_split(join, producer_of, f"{name}.{part}") for join, part in zip(joins, ("key", "value"), strict=True)
    ]
    transposed = _only_reader(readers, joins[0].output[0], "Transpose") if joins[0] is not None else None
    scores = _only_reader(readers, transposed.output[0], "MatMul") if transposed is not None else None
    masked = _only_reader(readers, scores.output[0], "Add") if scores is not None else None
    if scores is None or masked is None or _only_reader(readers, masked.output[0], "Softmax") is None:
        return None
    queries = producer_of.get(scores.input[0])
    while queries is not None and queries.op_type in ("Transpose", "Mul"):
        queries = producer_of.get(queries.input[0])
    reshapes = (queries, *split)
    if any(node is None or node.op_type != "Reshape" for node in reshapes):
        return None
    mask = 1 - list(masked.input).index(scores.output[0])
    return Layer(reshapes, masked, mask, (joins[0], joins[1]))  # type: ignore[arg-type]


def _only_reader(readers: dict[str, list[onnx.NodeProto]], name: str, kind: str) -> onnx.NodeProto | None:
    """Return the only reader of a value that has this operator; None if there are none or several."""
    matches = [node for node in readers.get(name, []) if node.op_type == kind]
    return matches[0] if len(matches) == 1 else None


def _head_split(
    joined: onnx.NodeProto | None, producer_of: dict[str, onnx.NodeProto], past: str
) -> onnx.NodeProto | None:
    """Return the node that splits into heads what a step appends to the cache."""
    if joined is None or joined.input[0] != past or len(joined.input) != 2:
        return None
    transpose = producer_of.get(joined.input[1])
    return producer_of.get(transpose.input[0]) if transpose is not None and transpose.op_type == "Transpose" else None


def _lengths(decoder: onnx.ModelProto, keys: set[str], readers: dict[str, list[onnx.NodeProto]]) -> Iterator[str]:
    """Yield the values that are the cache's length."""
    producer_of, constants = producers(decoder), initializers(decoder)
    for node in decoder.graph.node:
        if node.op_type == "Shape" and node.input[0] in keys:
            for reader in readers[node.output[0]]:
                index = producer_of.get(reader.input[1]) if reader.op_type == "Gather" else None
                value = constants.get(reader.input[1]) if index is None else index.attribute[0].t
                if reader.op_type == "Gather" and value is not None and numpy_helper.to_array(value).item() == 2:
                    yield reader.output[0]


def _has_learned_mask(decoder: onnx.ModelProto, layers: list[Layer], producer_of: dict[str, onnx.NodeProto]) -> bool:
    """Return whether a mask is computed from learned numbers."""
    constants = initializers(decoder)
    waiting, seen = [layer.masked.input[layer.mask] for layer in layers], set()
    while waiting:
        name = waiting.pop()
        if name in constants and np.prod(constants[name].dims) >= TABLE:
            return True
        if name in producer_of and name not in seen and producer_of[name].op_type != "Shape":
            seen.add(name)
            waiting += producer_of[name].input
    return False


def _remove_unused_nodes(decoder: onnx.ModelProto) -> None:
    """Remove the nodes that no output needs."""
    producer_of = producers(decoder)
    waiting, needed = [out.name for out in decoder.graph.output], set()
    while waiting:
        node = producer_of.get(waiting.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting += node.input
    kept = [node for node in decoder.graph.node if node.output[0] in needed]
    del decoder.graph.node[:]
    decoder.graph.node.extend(kept)
