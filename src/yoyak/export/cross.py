"""Cross-attention: its cache is made by the encoder, as the decoder reads it, and read by all texts of a dialogue."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from yoyak.errors import UserError
from yoyak.export.edit import PAST, PRESENT, initializers, producers

Step = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, the end of its output's name, attributes."""


def add_cross_cache(encoder: onnx.ModelProto, first: onnx.ModelProto, decoder: onnx.ModelProto) -> None:
    """Append to the encoder what makes each layer's keys and values of the cross-attention, out of the first step."""
    producer_of, constants = producers(first), initializers(first)
    wanted = [value for value in decoder.graph.input if value.name.startswith(PAST) and ".encoder." in value.name]
    nodes: dict[str, onnx.NodeProto] = {}
    del encoder.graph.output[:]
    for value in wanted:
        name = value.name.replace(PAST, PRESENT)
        heads = value.type.tensor_type.shape.dim[1].dim_value
        transpose = producer_of.get(name)
        split = (
            producer_of.get(transpose.input[0]) if transpose is not None and transpose.op_type == "Transpose" else None
        )
        if split is None or split.op_type != "Reshape":
            raise UserError(f"The exported graph makes {name} in a way that is not known: this model stays in torch.")
        # Its batch size is that of the decoder's input; 0 takes the encoder's.
        shape = f"{name}.shape"
        split.input[1] = shape
        encoder.graph.initializer.append(
            numpy_helper.from_array(np.array([0, 0, heads, -1], dtype=np.int64), f"cross.{shape}")
        )
        nodes.update(_behind(name, producer_of, {"encoder_hidden_states", shape}, constants))
        output = onnx.ValueInfoProto()
        output.CopyFrom(value)
        encoder.graph.output.append(output)
    used = {name for node in nodes.values() for name in node.input}
    names = {"encoder_hidden_states": "last_hidden_state"}
    names |= {value.name.replace(PAST, PRESENT): value.name for value in wanted}
    for node in first.graph.node:
        if node.output[0] not in nodes:
            continue
        copy = encoder.graph.node.add()
        copy.CopyFrom(node)
        copy.name = f"cross.{node.name}"
        for places in (copy.input, copy.output):
            for position, name in enumerate(places):
                places[position] = names.get(name, f"cross.{name}")
    for name in sorted(used & constants.keys()):
        copied = encoder.graph.initializer.add()
        copied.CopyFrom(constants[name])
        copied.name = f"cross.{name}"


def share_cross_cache(decoder: onnx.ModelProto) -> None:
    """Let all texts of a dialogue attend to one copy of its cache, as the rows of one product.

    The decoder then takes caches and a mask of fewer rows than it has texts; those of a dialogue stand together.
    """
    producer_of = producers(decoder)
    for value in list(decoder.graph.input):
        if not (value.name.startswith(PAST) and value.name.endswith(".encoder.key")):
            continue
        heads, size = (value.type.tensor_type.shape.dim[position].dim_value for position in (1, 3))
        name = value.name.removesuffix(".key")
        scores = read_by(decoder, value.name, producer_of)
        mixed = read_by(decoder, f"{name}.value", producer_of)
        constants = {f"{name}.first": [0], f"{name}.split": [-1, heads, size], f"{name}.join": [-1, heads, 1, size]}
        decoder.graph.initializer.extend(
            numpy_helper.from_array(np.array(numbers, dtype=np.int64), key) for key, numbers in constants.items()
        )
        query, out = scores.input[0], mixed.output[0]
        scores.input[0], mixed.output[0] = f"{name}.query", f"{name}.mixed"
        before: list[Step] = [
            ("Shape", [f"{name}.value"], "shape", {}),
            ("Gather", [f"{name}.shape", f"{name}.first"], "dialogues", {"axis": 0}),
            ("Concat", [f"{name}.dialogues", f"{name}.split"], "grouped", {"axis": 0}),
            ("Reshape", [query, f"{name}.grouped"], "rows", {}),
            ("Transpose", [f"{name}.rows"], "query", {"perm": [0, 2, 1, 3]}),
        ]
        behind: list[Step] = [
            ("Transpose", [f"{name}.mixed"], "back", {"perm": [0, 2, 1, 3]}),
            ("Reshape", [f"{name}.back", f"{name}.join"], "", {}),
        ]
        for node, steps, ahead in ((scores, before, 0), (mixed, behind, 1)):
            position = list(decoder.graph.node).index(node) + ahead
            for step, (kind, inputs, output, attributes) in enumerate(steps):
                outputs = [f"{name}.{output}" if output else out]
                added = onnx.helper.make_node(kind, inputs, outputs, name=f"{name}.{kind}_{step}", **attributes)
                decoder.graph.node.insert(position + step, added)


def turn_keys(encoder: onnx.ModelProto, decoder: onnx.ModelProto) -> None:
    """Let the encoder write the keys as the product reads them, so that no step of the decoder turns them."""
    producer_of = producers(encoder)
    keys = [out.name for out in encoder.graph.output if out.name.endswith(".key")]
    for name in keys:
        _set_perm(producer_of[name], before=[0, 2, 1, 3], after=[0, 2, 3, 1])
    for value in (*encoder.graph.output, *decoder.graph.input):
        if value.name in keys:
            third, fourth = value.type.tensor_type.shape.dim[2:4]
            held = onnx.TensorShapeProto.Dimension()
            held.CopyFrom(third)
            third.CopyFrom(fourth)
            fourth.CopyFrom(held)
    turned = {}
    for node in list(decoder.graph.node):
        if not node.input or node.input[0] not in keys:
            continue
        if node.op_type == "Shape":
            # The values have the shape that the keys had.
            node.input[0] = node.input[0].removesuffix(".key") + ".value"
        else:
            _set_perm(node, before=[0, 1, 3, 2], after=[0, 1, 2, 3])
            turned[node.output[0]] = node.input[0]
            decoder.graph.node.remove(node)
    for node in decoder.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = turned.get(name, name)


def scale_queries(model: onnx.ModelProto) -> None:
    """Scale the queries instead of the scores: they are fewer numbers."""
    producer_of, constants = producers(model), initializers(model)
    constant_outputs = {name for name, node in producer_of.items() if node.op_type == "Constant"}
    for scores in [node for node in model.graph.node if node.op_type == "MatMul" and node.input[1] not in constants]:
        transpose = producer_of.get(scores.input[0])
        readers = [node for node in model.graph.node if scores.output[0] in node.input]
        if transpose is None or transpose.op_type != "Transpose" or len(readers) != 1 or readers[0].op_type != "Mul":
            continue
        (scale,) = (name for name in readers[0].input if name != scores.output[0])
        if scale not in constants and scale not in constant_outputs:
            continue
        scaled = f"{scores.output[0]}.queries"
        mul = onnx.helper.make_node("Mul", [transpose.input[0], scale], [scaled], name=f"{scores.name}.scale")
        if scale in constant_outputs:
            # A node that is inserted earlier needs its inputs earlier.
            producer = producer_of[scale]
            model.graph.node.remove(producer)
            model.graph.node.insert(0, producer)
        model.graph.node.insert(list(model.graph.node).index(transpose), mul)
        transpose.input[0] = scaled
        scores.output[0] = readers[0].output[0]
        model.graph.node.remove(readers[0])


def _set_perm(node: onnx.NodeProto, *, before: list[int], after: list[int]) -> None:
    perm = next((one for one in node.attribute if one.name == "perm"), None)
    if node.op_type != "Transpose" or perm is None or list(perm.ints) != before:
        raise UserError(f"The exported graph turns keys by {node.name}, which is not known: this model stays in torch.")
    perm.ints[:] = after


def read_by(model: onnx.ModelProto, value: str, producer_of: dict[str, onnx.NodeProto]) -> onnx.NodeProto:
    """Return the product whose second factor is a value, as it is or transposed."""
    for node in model.graph.node:
        if node.op_type == "MatMul":
            transpose = producer_of.get(node.input[1])
            if value in (
                node.input[1],
                transpose.input[0] if transpose is not None and transpose.op_type == "Transpose" else None,
            ):
                return node
    raise UserError(f"The exported graph attends to {value} in a way that is not known: this model stays in torch.")


def _behind(
    name: str, producer_of: dict[str, onnx.NodeProto], stop: set[str], constants: dict[str, onnx.TensorProto]
) -> dict[str, onnx.NodeProto]:
    """Return the nodes that a value needs, by their first output."""
    nodes: dict[str, onnx.NodeProto] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in stop or one in constants or not one:
            continue
        if one not in producer_of:
            raise UserError(f"The cross-attention cache depends on '{one}', which the encoder has not.")
        node = producer_of[one]
        if node.output[0] not in nodes:
            nodes[node.output[0]] = node
            waiting += node.input
    return nodes
