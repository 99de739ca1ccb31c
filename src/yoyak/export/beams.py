"""Self-attention of beams: all texts of a dialogue share one cache, and a bias says which columns belong to which text.

Each step writes one column per text and moves none. The bias hides the columns of other texts and those that are not
written yet, so that a beam that continues another one takes over its columns without a copy. If the same memory is
bound as input and output, the columns are written in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, numpy_helper

from yoyak.export.edit import PAST, PRESENT, Step, drop_unneeded_nodes, initializers, make_nodes, producers, readers

BIAS, WRITE_INDICES, LENGTH, DISTANCES = "own_bias", "own_indices", "past_length", "own_distances"
"""The inputs that are added to the decoder: the bias [dialogues, 1, texts, columns], 0 or very low; the dialogue, head
and column to write each text's new keys and values to [dialogues, heads, texts, 3]; the number of tokens so far, of
each text [texts], or a single one for all where positions are used in an unknown way; and, for T5, how many tokens ago
each column was written [dialogues, columns]."""
MIN_LEARNED_SIZE = 64
"""Elements from which a constant that a mask depends on counts as learned, as T5's biases of positions do."""


@dataclass(frozen=True, slots=True)
class Layer:
    """The nodes of a layer's self-attention to change."""

    reshapes: tuple[onnx.NodeProto, onnx.NodeProto, onnx.NodeProto]
    """Split queries, keys and values into heads."""
    masked: onnx.NodeProto
    """Adds the mask to the scores."""
    mask: int
    """Index of the mask among its inputs."""
    concats: tuple[onnx.NodeProto, onnx.NodeProto]
    """Append to the cached keys and values."""


def share_self_cache(decoder: onnx.ModelProto, buckets: npt.NDArray[np.int64] | None = None) -> bool:
    """Change a decoder to share one cache among all texts of a dialogue; return False if it has an unknown structure.

    An unchanged decoder has one cache per text, which has to be reordered with the beams.

    Args:
        decoder: The graph, which is changed.
        buckets: For T5, the row of the learned biases for each distance; it is the last one for all that are larger.
    """
    keys = [
        value for value in decoder.graph.input if value.name.startswith(PAST) and value.name.endswith(".decoder.key")
    ]
    read_by = readers(decoder)
    producer_of = producers(decoder)
    lengths = list(_find_lengths(decoder, {key.name for key in keys}, read_by))
    matches = [_match_layer(key.name.removesuffix(".key"), read_by, producer_of) for key in keys]
    layers = [layer for layer in matches if layer is not None]
    if not keys or len(layers) != len(keys) or not lengths:
        return False
    learned = _find_learned_mask(decoder, layers, producer_of)
    if (learned is None) != (buckets is None):
        return False
    heads, size = (keys[0].type.tensor_type.shape.dim[axis].dim_value for axis in (1, 3))
    constants = {"own.first": [0], "own.heads": [-1, heads, size]}
    decoder.graph.initializer.extend(
        numpy_helper.from_array(np.array(numbers, dtype=np.int64), key) for key, numbers in constants.items()
    )
    steps = [
        onnx.helper.make_node("Shape", [keys[0].name], ["own.shape"], name="own.Shape"),
        onnx.helper.make_node("Gather", ["own.shape", "own.first"], ["own.dialogues"], name="own.Gather", axis=0),
        onnx.helper.make_node("Concat", ["own.dialogues", "own.heads"], ["own.split"], name="own.Concat", axis=0),
    ]
    bias = BIAS
    if learned is not None and buckets is not None:
        bias = "own.position_bias"
        steps += _make_position_bias(decoder, learned, buckets, bias)
    for position, node in enumerate(steps):
        decoder.graph.node.insert(position, node)
    for layer in layers:
        for node in layer.reshapes:
            node.input[1] = "own.split"
        layer.masked.input[layer.mask] = bias
        for concat in layer.concats:
            past, new = concat.input
            scatter = onnx.helper.make_node(
                "ScatterND", [past, WRITE_INDICES, new], list(concat.output), name=concat.name
            )
            concat.CopyFrom(scatter)
    for name in lengths:
        for node in read_by[name]:
            for position, value in enumerate(node.input):
                node.input[position] = LENGTH if value == name else value
    drop_unneeded_nodes(decoder)
    make_info = onnx.helper.make_tensor_value_info
    added = [
        make_info(BIAS, TensorProto.FLOAT, ["dialogues", 1, "texts", "columns"]),
        make_info(WRITE_INDICES, TensorProto.INT64, ["dialogues", heads, "texts", 3]),
        make_info(LENGTH, TensorProto.INT64, []),
        make_info(DISTANCES, TensorProto.INT64, ["dialogues", "columns"]),
    ]
    used = {name for node in decoder.graph.node for name in node.input}
    decoder.graph.input.extend(value for value in added if value.name in used)
    inputs = {value.name.replace(PAST, PRESENT): value for value in decoder.graph.input}
    for out in decoder.graph.output:
        if out.name in inputs:
            out.type.CopyFrom(inputs[out.name].type)
    if LENGTH in used:
        _take_lengths(decoder)
    return True


def _take_lengths(decoder: onnx.ModelProto) -> None:
    """Let the decoder take the length of each text instead of one for all, so that dialogues may join a batch later.

    It must only be the position of the one new token: a row Range(length, length + 1), which becomes a column.
    """
    read_by = readers(decoder)
    starts = {LENGTH, *(node.output[0] for node in read_by[LENGTH] if node.op_type == "Cast")}
    spans = [node for name in starts for node in read_by.get(name, []) if node.op_type == "Range"]
    rows = [node for span in spans for node in read_by[span.output[0]]]
    if [node.op_type for node in rows] != ["Unsqueeze"]:
        return
    changed = onnx.ModelProto()
    changed.CopyFrom(decoder)
    [positions] = [node for node in changed.graph.node if node.output == rows[0].output]
    positions.input[:] = [LENGTH, "own.column"]
    drop_unneeded_nodes(changed)
    if [node.output for node in readers(changed)[LENGTH]] != [positions.output]:
        return
    decoder.CopyFrom(changed)
    decoder.graph.initializer.append(numpy_helper.from_array(np.array([1], dtype=np.int64), "own.column"))
    [length] = [value for value in decoder.graph.input if value.name == LENGTH]
    length.CopyFrom(onnx.helper.make_tensor_value_info(LENGTH, TensorProto.INT64, ["rows"]))


def _match_layer(
    name: str, read_by: dict[str, list[onnx.NodeProto]], producer_of: dict[str, onnx.NodeProto]
) -> Layer | None:
    """Return the nodes of the layer whose cache has this name; None if it is not structured like BART's."""
    concats = [_find_only_reader(read_by, f"{name}.{part}", "Concat") for part in ("key", "value")]
    split = [
        _find_head_split(join, producer_of, f"{name}.{part}")
        for join, part in zip(concats, ("key", "value"), strict=True)
    ]
    transposed = _find_only_reader(read_by, concats[0].output[0], "Transpose") if concats[0] is not None else None
    scores = _find_only_reader(read_by, transposed.output[0], "MatMul") if transposed is not None else None
    masked = _find_only_reader(read_by, scores.output[0], "Add") if scores is not None else None
    if scores is None or masked is None:
        return None
    # T5 computes probabilities in float whatever its weights are in.
    cast = _find_only_reader(read_by, masked.output[0], "Cast") or masked
    if _find_only_reader(read_by, cast.output[0], "Softmax") is None:
        return None
    queries = producer_of.get(scores.input[0])
    while queries is not None and queries.op_type in ("Transpose", "Mul"):
        queries = producer_of.get(queries.input[0])
    reshapes = (queries, *split)
    if any(node is None or node.op_type != "Reshape" for node in reshapes):
        return None
    mask = 1 - list(masked.input).index(scores.output[0])
    return Layer(reshapes, masked, mask, (concats[0], concats[1]))  # type: ignore[arg-type]


def _find_only_reader(read_by: dict[str, list[onnx.NodeProto]], name: str, kind: str) -> onnx.NodeProto | None:
    """Return the only reader of a value with this operator; None if there are none or several."""
    matches = [node for node in read_by.get(name, []) if node.op_type == kind]
    return matches[0] if len(matches) == 1 else None


def _find_head_split(
    concat: onnx.NodeProto | None, producer_of: dict[str, onnx.NodeProto], past: str
) -> onnx.NodeProto | None:
    """Return the node that splits the keys or values of a step into heads before they are appended to the cache."""
    if concat is None or concat.input[0] != past or len(concat.input) != 2:
        return None
    transpose = producer_of.get(concat.input[1])
    return producer_of.get(transpose.input[0]) if transpose is not None and transpose.op_type == "Transpose" else None


def _find_lengths(decoder: onnx.ModelProto, keys: set[str], read_by: dict[str, list[onnx.NodeProto]]) -> Iterator[str]:
    """Yield the names of the values that hold the length of the cache."""
    producer_of, constants = producers(decoder), initializers(decoder)
    for node in decoder.graph.node:
        if node.op_type == "Shape" and node.input[0] in keys:
            for reader in read_by[node.output[0]]:
                index = producer_of.get(reader.input[1]) if reader.op_type == "Gather" else None
                value = constants.get(reader.input[1]) if index is None else index.attribute[0].t
                if reader.op_type == "Gather" and value is not None and numpy_helper.to_array(value).item() == 2:
                    yield reader.output[0]


def _find_learned_mask(
    decoder: onnx.ModelProto, layers: list[Layer], producer_of: dict[str, onnx.NodeProto]
) -> str | None:
    """Return the name of the learned constant that the masks are computed from; None if there is none."""
    constants = initializers(decoder)
    pending, visited = [layer.masked.input[layer.mask] for layer in layers], set()
    while pending:
        name = pending.pop()
        if name in constants and np.prod(constants[name].dims) >= MIN_LEARNED_SIZE:
            return name
        if name in producer_of and name not in visited and producer_of[name].op_type != "Shape":
            visited.add(name)
            pending += producer_of[name].input
    return None


def _make_position_bias(
    decoder: onnx.ModelProto, learned: str, buckets: npt.NDArray[np.int64], out: str
) -> list[onnx.NodeProto]:
    """Return the nodes that add to the bias what T5 has learned of distances between tokens, which all texts share."""
    table = numpy_helper.to_array(initializers(decoder)[learned])
    constants = {
        "own.by_distance": np.ascontiguousarray(table[buckets].T),
        "own.farthest": np.array(len(buckets) - 1, np.int64),
        "own.text_axis": np.array([2], np.int64),
    }
    decoder.graph.initializer.extend(numpy_helper.from_array(array, key) for key, array in constants.items())
    steps: list[Step] = [
        ("Min", [DISTANCES, "own.farthest"], "own.near", {}),
        ("Gather", ["own.by_distance", "own.near"], "own.by_head", {"axis": 1}),
        ("Transpose", ["own.by_head"], "own.of_dialogues", {"perm": [1, 0, 2]}),
        ("Unsqueeze", ["own.of_dialogues", "own.text_axis"], "own.of_texts", {}),
        ("Add", ["own.of_texts", BIAS], out, {}),
    ]
    return make_nodes(decoder, steps)
