"""Self-attention of decoder-only models: one cache for a prompt and all texts that continue it.

As in `beams`, each step writes columns into the same memory, and a bias says which columns belong to which text. The
prompt's columns belong to all of them. A step may have any number of tokens per dialogue: those of the prompt in the
first one, and one for each text in all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from yoyak.export.beams import BIAS, WRITE_INDICES
from yoyak.export.edit import PAST, drop_unneeded_nodes, find_head, initializers, readers

ROWS = "own_rows"
"""The input that is added besides those of `beams`: the tokens whose logits are computed [rows, 1], counted over all
dialogues."""
POSITIONS, MASK = "position_ids", "attention_mask"
MOVES = ("Transpose", "Unsqueeze", "Expand", "Reshape", "Cast")
"""Operators between the cache and the product that reads it."""
SCALES = ("Mul", "Div", "Cast", "Where", "Add")
"""Operators between that product and the softmax."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The nodes of a layer's self-attention to change."""

    concats: tuple[onnx.NodeProto, onnx.NodeProto]
    """Append to the cached keys and values."""
    scores: tuple[onnx.NodeProto, ...]
    """From the product of queries and keys to the softmax, both included."""


def share_prompt_cache(decoder: onnx.ModelProto) -> bool:
    """Change a decoder-only model to share one cache among a prompt and its texts.

    Returns False, with the graph unchanged, if its structure is unknown.
    """
    keys = [value for value in decoder.graph.input if value.name.startswith(PAST) and value.name.endswith(".key")]
    read_by = readers(decoder)
    matches = [_match_layer(key.name.removesuffix(".key"), read_by) for key in keys]
    layers = [layer for layer in matches if layer is not None]
    last = next((node for node in decoder.graph.node if node.name == "yoyak.last_position"), None)
    has_positions = any(value.name == POSITIONS for value in decoder.graph.input)
    if not keys or len(layers) != len(keys) or last is None or not has_positions:
        return False
    before = onnx.GraphProto()
    before.node.extend(decoder.graph.node)
    for layer in layers:
        _share_layer(layer)
    _choose_rows(decoder, last)
    drop_unneeded_nodes(decoder)
    # Whatever else depends on the mask or on the length of the cache would be wrong: columns are not positions.
    if any(
        MASK in node.input or (node.op_type == "Shape" and node.input[0].startswith(PAST))
        for node in decoder.graph.node
    ):
        del decoder.graph.node[:]
        decoder.graph.node.extend(before.node)
        return False
    _declare_inputs(decoder, keys[0].type.tensor_type.shape.dim[1].dim_value)
    return True


def _match_layer(name: str, read_by: dict[str, list[onnx.NodeProto]]) -> Layer | None:
    """Return the nodes of the layer whose cache has this name; None if its structure is unknown."""
    concats = []
    for part in ("key", "value"):
        found = [node for node in read_by.get(f"{name}.{part}", []) if node.op_type == "Concat"]
        if len(found) != 1 or len(found[0].input) != 2 or found[0].input[0] != f"{name}.{part}":
            return None
        concats.append(found[0])
    value, product = concats[0].output[0], None
    while product is None:
        followers = [node for node in read_by.get(value, []) if node.op_type in ("MatMul", *MOVES)]
        if len(followers) != 1:
            return None
        value = followers[0].output[0]
        product = followers[0] if followers[0].op_type == "MatMul" else None
    chain = [product]
    while chain[-1].op_type != "Softmax":
        followers = read_by.get(chain[-1].output[0], [])
        if len(followers) != 1 or followers[0].op_type not in (*SCALES, "Softmax"):
            return None
        chain.append(followers[0])
    if [node.op_type for node in chain].count("Add") != 1:
        return None
    return Layer((concats[0], concats[1]), tuple(chain))


def _share_layer(layer: Layer) -> None:
    for concat in layer.concats:
        scatter = onnx.helper.make_node(
            "ScatterND", [concat.input[0], WRITE_INDICES, concat.input[1]], list(concat.output), name=concat.name
        )
        concat.CopyFrom(scatter)
    value = layer.scores[0].output[0]
    for node, follower in zip(layer.scores[1:], layer.scores[2:], strict=False):
        if node.op_type == "Add":
            node.input[1 - list(node.input).index(value)] = BIAS
        elif node.op_type == "Where":
            # A mask of the model's own, whose part the bias takes.
            for index, name in enumerate(follower.input):
                if name == node.output[0]:
                    follower.input[index] = value
            continue
        value = node.output[0]


def _choose_rows(decoder: onnx.ModelProto, last: onnx.NodeProto) -> None:
    """Compute the logits of the tokens at the indices in `ROWS` in place of those at the last position."""
    head = find_head(decoder)
    assert head is not None
    width = initializers(decoder)[head.input[1]].dims[0]
    decoder.graph.initializer.append(numpy_helper.from_array(np.array([-1, width], np.int64), "own.flat_shape"))
    flat = onnx.helper.make_node("Reshape", [last.input[0], "own.flat_shape"], ["own.flat"], name="own.Flatten")
    decoder.graph.node.insert(list(decoder.graph.node).index(last), flat)
    last.CopyFrom(onnx.helper.make_node("Gather", ["own.flat", ROWS], list(last.output), name=last.name, axis=0))


def _declare_inputs(decoder: onnx.ModelProto, heads: int) -> None:
    kept = [value for value in decoder.graph.input if value.name != MASK]
    del decoder.graph.input[:]
    decoder.graph.input.extend(
        [
            *kept,
            onnx.helper.make_tensor_value_info(BIAS, TensorProto.FLOAT, ["dialogues", 1, "texts", "columns"]),
            onnx.helper.make_tensor_value_info(WRITE_INDICES, TensorProto.INT64, ["dialogues", heads, "texts", 3]),
            onnx.helper.make_tensor_value_info(ROWS, TensorProto.INT64, ["rows", 1]),
        ]
    )
    for out in decoder.graph.output:
        if out.name == "logits":
            out.type.tensor_type.shape.dim[0].dim_param = "rows"
        else:
            for axis, size in enumerate(("dialogues", None, "columns", None)):
                if size is not None:
                    out.type.tensor_type.shape.dim[axis].dim_param = size
    for value in decoder.graph.input:
        if value.name.startswith(PAST):
            value.type.tensor_type.shape.dim[0].dim_param = "dialogues"
            value.type.tensor_type.shape.dim[2].dim_param = "columns"
        elif value.name in ("input_ids", POSITIONS):
            value.type.tensor_type.shape.dim[0].dim_param = "dialogues"
            value.type.tensor_type.shape.dim[1].dim_param = "texts"
