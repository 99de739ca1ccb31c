"""Self-attention of beams: all texts of a dialogue read one cache, and a bias says which columns are whose.

Each step writes a column for each text and moves none. Of what the others have written, and of columns that nobody has
written yet, a text is kept away by a bias, so that a beam which goes on from another takes over its columns without a
copy. Whoever binds a cache as input and output gets the columns written where they are.
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
"""Numbers from which a constant behind a mask is learned: T5's depend on places, which columns are not."""


@dataclass(frozen=True, slots=True)
class Layer:
    """What is changed in a layer's self-attention."""

    reshapes: tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto]
    """They split queries, keys and values into heads."""
    masked: onnx.NodeProto
    """It adds the mask to the scores."""
    mask: int
    """Which of its inputs is the mask."""
    joins: tuple[onnx.NodeProto, onnx.NodeProto]
    """They append to keys and values."""


def share_own_cache(decoder: onnx.ModelProto) -> bool:
    """Change a decoder to read one cache for all texts of a dialogue; False, and no change, where it is not known how.

    As it is, a decoder has a cache for each text, whose rows have to change places with the beams.
    """
    keys = [one for one in decoder.graph.input if one.name.startswith(PAST) and one.name.endswith(".decoder.key")]
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in decoder.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    made = producers(decoder)
    lengths = list(_lengths(decoder, {one.name for one in keys}, readers))
    layers = [_layer(one.name.removesuffix(".key"), readers, made) for one in keys]
    found = [layer for layer in layers if layer is not None]
    if not keys or len(found) != len(layers) or not lengths or _learned(decoder, found, made):
        return False
    heads, size = (keys[0].type.tensor_type.shape.dim[place].dim_value for place in (1, 3))
    constants = {"own.first": [0], "own.heads": [-1, heads, size]}
    decoder.graph.initializer.extend(
        numpy_helper.from_array(np.array(numbers, dtype=np.int64), key) for key, numbers in constants.items()
    )
    steps = [
        onnx.helper.make_node("Shape", [keys[0].name], ["own.shape"], name="own.Shape"),
        onnx.helper.make_node("Gather", ["own.shape", "own.first"], ["own.dialogues"], name="own.Gather", axis=0),
        onnx.helper.make_node("Concat", ["own.dialogues", "own.heads"], ["own.split"], name="own.Concat", axis=0),
    ]
    for place, node in enumerate(steps):
        decoder.graph.node.insert(place, node)
    for layer in found:
        for node in layer.reshapes:
            node.input[1] = "own.split"
        layer.masked.input[layer.mask] = BIAS
        for join in layer.joins:
            past, new = join.input
            written = onnx.helper.make_node("ScatterND", [past, PLACES, new], list(join.output), name=join.name)
            join.CopyFrom(written)
    for name in lengths:
        for node in readers[name]:
            for place, one in enumerate(node.input):
                node.input[place] = LENGTH if one == name else one
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
    _drop_idle(decoder)
    return True


def _layer(name: str, readers: dict[str, list[onnx.NodeProto]], made: dict[str, onnx.NodeProto]) -> Layer | None:
    """Return the nodes of one layer, whose cache has a name; None where they are not those of BART."""
    joins = [_sole(readers, f"{name}.{part}", "Concat") for part in ("key", "value")]
    split = [_before(join, made, f"{name}.{part}") for join, part in zip(joins, ("key", "value"), strict=True)]
    turned = _sole(readers, joins[0].output[0], "Transpose") if joins[0] is not None else None
    scores = _sole(readers, turned.output[0], "MatMul") if turned is not None else None
    masked = _sole(readers, scores.output[0], "Add") if scores is not None else None
    if scores is None or masked is None or _sole(readers, masked.output[0], "Softmax") is None:
        return None
    queries = made.get(scores.input[0])
    while queries is not None and queries.op_type in ("Transpose", "Mul"):
        queries = made.get(queries.input[0])
    reshapes = (queries, *split)
    if any(node is None or node.op_type != "Reshape" for node in reshapes):
        return None
    mask = 1 - list(masked.input).index(scores.output[0])
    return Layer(reshapes, masked, mask, (joins[0], joins[1]))  # type: ignore[arg-type]


def _sole(readers: dict[str, list[onnx.NodeProto]], name: str, kind: str) -> onnx.NodeProto | None:
    """Return the one reader of a value that is of a kind."""
    found = [node for node in readers.get(name, []) if node.op_type == kind]
    return found[0] if len(found) == 1 else None


def _before(joined: onnx.NodeProto | None, made: dict[str, onnx.NodeProto], past: str) -> onnx.NodeProto | None:
    """Return what splits into heads that which a step appends to the cache."""
    if joined is None or joined.input[0] != past or len(joined.input) != 2:
        return None
    turn = made.get(joined.input[1])
    return made.get(turn.input[0]) if turn is not None and turn.op_type == "Transpose" else None


def _lengths(decoder: onnx.ModelProto, keys: set[str], readers: dict[str, list[onnx.NodeProto]]) -> Iterator[str]:
    """Yield the values that are the cache's length."""
    made, constants = producers(decoder), initializers(decoder)
    for node in decoder.graph.node:
        if node.op_type == "Shape" and node.input[0] in keys:
            for reader in readers[node.output[0]]:
                index = made.get(reader.input[1]) if reader.op_type == "Gather" else None
                value = constants.get(reader.input[1]) if index is None else index.attribute[0].t
                if reader.op_type == "Gather" and value is not None and numpy_helper.to_array(value).item() == 2:
                    yield reader.output[0]


def _learned(decoder: onnx.ModelProto, layers: list[Layer], made: dict[str, onnx.NodeProto]) -> bool:
    """Return whether a mask is made of more than zeros."""
    constants = initializers(decoder)
    waiting, seen = [layer.masked.input[layer.mask] for layer in layers], set()
    while waiting:
        name = waiting.pop()
        if name in constants and np.prod(constants[name].dims) >= TABLE:
            return True
        if name in made and name not in seen and made[name].op_type != "Shape":
            seen.add(name)
            waiting += made[name].input
    return False


def _drop_idle(decoder: onnx.ModelProto) -> None:
    """Remove the nodes that no output needs."""
    made = producers(decoder)
    waiting, needed = [out.name for out in decoder.graph.output], set()
    while waiting:
        node = made.get(waiting.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            waiting += node.input
    kept = [node for node in decoder.graph.node if node.output[0] in needed]
    del decoder.graph.node[:]
    decoder.graph.node.extend(kept)
