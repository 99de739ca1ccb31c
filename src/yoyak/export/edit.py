"""Helpers to inspect and edit ONNX graphs."""

from __future__ import annotations

import onnx

Graphs = dict[str, onnx.ModelProto]
"""By name: ``encoder`` and ``decoder``."""
PAST, PRESENT = "past_key_values", "present"


def initializers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the graph's constants by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the node that computes each value, by the value's name."""
    return {name: node for node in model.graph.node for name in node.output}


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
