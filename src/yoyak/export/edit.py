"""Helpers to inspect and edit ONNX graphs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx
from onnx import numpy_helper

Graphs = dict[str, onnx.ModelProto]
"""By name: ``encoder`` and ``decoder``."""
PAST, PRESENT = "past_key_values", "present"
Step = tuple[str, list[str], str, dict[str, Any]]
"""Operator, inputs, output, attributes."""
ORT_DOMAIN = "com.microsoft"
"""The domain of onnxruntime's contributed operators."""


def initializers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the graph's constants by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the node that computes each value, by the value's name."""
    return {name: node for node in model.graph.node for name in node.output}


def readers(model: onnx.ModelProto) -> dict[str, list[onnx.NodeProto]]:
    """Return the nodes that read each value, by the value's name."""
    read_by: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            read_by.setdefault(name, []).append(node)
    return read_by


def import_ort_operators(model: onnx.ModelProto) -> None:
    """Let a graph use onnxruntime's contributed operators."""
    if not any(entry.domain == ORT_DOMAIN for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(ORT_DOMAIN, 1))


def make_nodes(model: onnx.ModelProto, steps: Sequence[Step]) -> list[onnx.NodeProto]:
    """Return the nodes of a sequence of operators, as the graph's version of them has it."""
    version = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    nodes = []
    for kind, inputs, output, attributes in steps:
        node_inputs, node_attributes = inputs, attributes
        if kind == "ReduceMax" and version < 18:
            # Before opset 18, the axes are an attribute.
            axes = numpy_helper.to_array(initializers(model)[inputs[1]])
            node_inputs, node_attributes = inputs[:1], {"axes": axes.tolist()}
        nodes.append(onnx.helper.make_node(kind, node_inputs, [output], name=f"{output}.{kind}", **node_attributes))
    return nodes


def find_head(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """Return the product that computes the logits; None if its second factor is not a constant."""
    producer_of, constants = producers(model), initializers(model)
    node = producer_of.get("logits")
    while node is not None and node.op_type in ("Add", "Mul", "Identity", "Cast"):
        node = next((producer_of[name] for name in node.input if name in producer_of), None)
    return node if node is not None and node.op_type == "MatMul" and node.input[1] in constants else None


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove the constants that no node reads."""
    used = {name for node in model.graph.node for name in node.input} | {out.name for out in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def drop_unneeded_nodes(model: onnx.ModelProto) -> None:
    """Remove the nodes that no output depends on."""
    producer_of = producers(model)
    pending, needed = [out.name for out in model.graph.output], set()
    while pending:
        node = producer_of.get(pending.pop())
        if node is not None and node.output[0] not in needed:
            needed.add(node.output[0])
            pending += node.input
    kept = [node for node in model.graph.node if node.output[0] in needed]
    del model.graph.node[:]
    model.graph.node.extend(kept)
