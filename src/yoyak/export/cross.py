"""Cross-attention: the encoder computes its cache in the decoder's layout, and all texts of a dialogue share it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from yoyak.errors import UserError
from yoyak.export.edit import PAST, PRESENT, initializers, producers

Step = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, suffix of the output's name, attributes."""


def add_cross_cache(encoder: onnx.ModelProto, first: onnx.ModelProto, decoder: onnx.ModelProto) -> None:
    """Append to the encoder the nodes of the first decoder step that compute the cross-attention keys and values."""
    producer_of, constants = producers(first), initializers(first)
    cache_inputs = [value for value in decoder.graph.input if value.name.startswith(PAST) and ".encoder." in value.name]
    nodes: dict[str, onnx.NodeProto] = {}
    del encoder.graph.output[:]
    for value in cache_inputs:
        name = value.name.replace(PAST, PRESENT)
        heads = value.type.tensor_type.shape.dim[1].dim_value
        transpose = producer_of.get(name)
        split = (
            producer_of.get(transpose.input[0]) if transpose is not None and transpose.op_type == "Transpose" else None
        )
        if split is None or split.op_type != "Reshape":
            raise UserError(f"The exported graph computes {name} in an unknown way: this model cannot be exported.")
        # The batch size in the shape is the decoder's; 0 copies the encoder's.
        shape = f"{name}.shape"
        split.input[1] = shape
        encoder.graph.initializer.append(
            numpy_helper.from_array(np.array([0, 0, heads, -1], dtype=np.int64), f"cross.{shape}")
        )
        nodes.update(_collect_ancestors(name, producer_of, {"encoder_hidden_states", shape}, constants))
        output = onnx.ValueInfoProto()
        output.CopyFrom(value)
        encoder.graph.output.append(output)
    used = {name for node in nodes.values() for name in node.input}
    names = {"encoder_hidden_states": "last_hidden_state"}
    names |= {value.name.replace(PAST, PRESENT): value.name for value in cache_inputs}
    for node in first.graph.node:
        if node.output[0] not in nodes:
            continue
        copy = encoder.graph.node.add()
        copy.CopyFrom(node)
        copy.name = f"cross.{node.name}"
        for values in (copy.input, copy.output):
            for index, name in enumerate(values):
                values[index] = names.get(name, f"cross.{name}")
    for name in sorted(used & constants.keys()):
        copied = encoder.graph.initializer.add()
        copied.CopyFrom(constants[name])
        copied.name = f"cross.{name}"


def share_cross_cache(decoder: onnx.ModelProto) -> None:
    """Let all texts of a dialogue attend to one copy of its cache, as the rows of one product.

    The decoder then takes caches and a mask with one row per dialogue; the texts of a dialogue must be adjacent.
    """
    producer_of = producers(decoder)
    for value in list(decoder.graph.input):
        if not (value.name.startswith(PAST) and value.name.endswith(".encoder.key")):
            continue
        heads, size = (value.type.tensor_type.shape.dim[axis].dim_value for axis in (1, 3))
        name = value.name.removesuffix(".key")
        scores = find_reader(decoder, value.name, producer_of)
        mixed = find_reader(decoder, f"{name}.value", producer_of)
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
        after: list[Step] = [
            ("Transpose", [f"{name}.mixed"], "back", {"perm": [0, 2, 1, 3]}),
            ("Reshape", [f"{name}.back", f"{name}.join"], "", {}),
        ]
        for node, steps, offset in ((scores, before, 0), (mixed, after, 1)):
            position = list(decoder.graph.node).index(node) + offset
            for step, (kind, inputs, output, attributes) in enumerate(steps):
                outputs = [f"{name}.{output}" if output else out]
                new_node = onnx.helper.make_node(kind, inputs, outputs, name=f"{name}.{kind}_{step}", **attributes)
                decoder.graph.node.insert(position + step, new_node)


def transpose_keys(encoder: onnx.ModelProto, decoder: onnx.ModelProto) -> None:
    """Let the encoder write the keys already transposed, so that no decoder step has to transpose them."""
    producer_of = producers(encoder)
    keys = [out.name for out in encoder.graph.output if out.name.endswith(".key")]
    for name in keys:
        _set_perm(producer_of[name], before=[0, 2, 1, 3], after=[0, 2, 3, 1])
    for value in (*encoder.graph.output, *decoder.graph.input):
        if value.name in keys:
            third, fourth = value.type.tensor_type.shape.dim[2:4]
            swapped = onnx.TensorShapeProto.Dimension()
            swapped.CopyFrom(third)
            third.CopyFrom(fourth)
            fourth.CopyFrom(swapped)
    replacements = {}
    for node in list(decoder.graph.node):
        if not node.input or node.input[0] not in keys:
            continue
        if node.op_type == "Shape":
            # The values still have the shape that the keys had before.
            node.input[0] = node.input[0].removesuffix(".key") + ".value"
        else:
            _set_perm(node, before=[0, 1, 3, 2], after=[0, 1, 2, 3])
            replacements[node.output[0]] = node.input[0]
            decoder.graph.node.remove(node)
    for node in decoder.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = replacements.get(name, name)


def scale_queries(model: onnx.ModelProto) -> None:
    """Scale the queries instead of the scores, which are more numbers."""
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
            # The new node comes earlier in the graph, so its input has to as well.
            producer = producer_of[scale]
            model.graph.node.remove(producer)
            model.graph.node.insert(0, producer)
        model.graph.node.insert(list(model.graph.node).index(transpose), mul)
        transpose.input[0] = scaled
        scores.output[0] = readers[0].output[0]
        model.graph.node.remove(readers[0])


def _set_perm(node: onnx.NodeProto, *, before: list[int], after: list[int]) -> None:
    perm = next((attribute for attribute in node.attribute if attribute.name == "perm"), None)
    if node.op_type != "Transpose" or perm is None or list(perm.ints) != before:
        raise UserError(
            f"The exported graph transposes keys in an unknown way ({node.name}): this model cannot be exported."
        )
    perm.ints[:] = after


def find_reader(model: onnx.ModelProto, value: str, producer_of: dict[str, onnx.NodeProto]) -> onnx.NodeProto:
    """Return the product whose second factor is a value or its transpose."""
    for node in model.graph.node:
        if node.op_type == "MatMul":
            transpose = producer_of.get(node.input[1])
            if value in (
                node.input[1],
                transpose.input[0] if transpose is not None and transpose.op_type == "Transpose" else None,
            ):
                return node
    raise UserError(f"The exported graph attends to {value} in an unknown way: this model cannot be exported.")


def _collect_ancestors(
    name: str, producer_of: dict[str, onnx.NodeProto], stop: set[str], constants: dict[str, onnx.TensorProto]
) -> dict[str, onnx.NodeProto]:
    """Return the nodes that a value is computed from, by their first output."""
    nodes: dict[str, onnx.NodeProto] = {}
    pending = [name]
    while pending:
        value = pending.pop()
        if value in stop or value in constants or not value:
            continue
        if value not in producer_of:
            raise UserError(f"The cross-attention cache depends on '{value}', which the encoder does not have.")
        node = producer_of[value]
        if node.output[0] not in nodes:
            nodes[node.output[0]] = node
            pending += node.input
    return nodes
