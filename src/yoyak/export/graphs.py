"""The ONNX graphs of a model, in fp32: an encoder that also makes the cross-attention cache, and one decoder step.

Optimum exports three graphs of an encoder-decoder model: the encoder, the decoder's first step and its later steps.
The first step differs from a later one with an empty cache in one thing only, the keys and values of the
cross-attention: they go to the encoder here, and no weight of the decoder is there twice.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import numpy_helper

from yoyak.errors import UserError

Graphs = dict[str, onnx.ModelProto]
PAST, PRESENT = "past_key_values", "present"


def export_graphs(model: Any, family: Literal["seq2seq", "causal"]) -> Graphs:
    """Return the graphs ``encoder`` and ``decoder`` of a torch model; a decoder-only model has no encoder.

    Raises UserError where Optimum does not know the architecture.
    """
    task = ("text2text" if family == "seq2seq" else "text") + "-generation-with-past"
    # torch's own fused attention is exported with a copy of the scaled cache in every step.
    model.set_attn_implementation("eager")
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = Path(temporary)
        _optimum(model, task, folder)
        if family == "causal":
            decoder = _load(folder / "model.onnx")
            _last_position(decoder)
            return {"decoder": decoder}
        encoder, decoder = _load(folder / "encoder_model.onnx"), _load(folder / "decoder_with_past_model.onnx")
        _add_cross_cache(encoder, _load(folder / "decoder_model.onnx"), decoder)
        _share_cross_cache(decoder)
    return {"encoder": encoder, "decoder": decoder}


def initializers(model: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Return the graph's constants by name."""
    return {tensor.name: tensor for tensor in model.graph.initializer}


def producers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """Return the node behind each value, by the value's name."""
    return {name: node for node in model.graph.node for name in node.output}


def head(model: onnx.ModelProto) -> onnx.NodeProto | None:
    """Return the product that makes the logits, where its second factor is a constant."""
    made, constants = producers(model), initializers(model)
    node = made.get("logits")
    while node is not None and node.op_type in ("Add", "Mul", "Identity", "Cast"):
        node = next((made[name] for name in node.input if name in made), None)
    return node if node is not None and node.op_type == "MatMul" and node.input[1] in constants else None


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove the constants that no node reads."""
    used = {name for node in model.graph.node for name in node.input} | {out.name for out in model.graph.output}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _optimum(model: Any, task: str, folder: Path) -> None:
    from optimum.exporters.onnx.convert import onnx_export_from_model
    from optimum.exporters.tasks import TasksManager

    kind = model.config.model_type
    if kind not in TasksManager.get_supported_model_type_for_task(task, "onnx"):
        raise UserError(f"Optimum cannot export {kind} for {task}: BART, T5, mT5, GPT-2, Llama and Qwen2 are tested.")
    level = logging.getLogger("optimum").level
    logging.getLogger("optimum").setLevel(logging.ERROR)
    try:
        # Tracing says much that is meant for the authors of a model.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            onnx_export_from_model(model, folder, task=task, no_post_process=True, do_validation=False)
    finally:
        logging.getLogger("optimum").setLevel(level)


def _load(path: Path) -> onnx.ModelProto:
    model = onnx.load(path)
    _fold_identities(model)
    return model


def _fold_identities(model: onnx.ModelProto) -> None:
    """Let nodes read a constant itself: the exporter gives a second use of the same numbers through an Identity."""
    constants = initializers(model)
    same = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in constants
    }
    kept = [node for node in model.graph.node if node.output[0] not in same]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = same.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _last_position(model: onnx.ModelProto) -> None:
    """Make the logits of the last position only: those of a long prompt would be larger than the model."""
    node = head(model)
    if node is None:
        return
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), "yoyak.last"))
    place = list(model.graph.node).index(node)
    last = onnx.helper.make_node(
        "Gather", [node.input[0], "yoyak.last"], ["yoyak.last_hidden"], name="yoyak.last_position", axis=1
    )
    node.input[0] = "yoyak.last_hidden"
    model.graph.node.insert(place, last)
    for out in model.graph.output:
        if out.name == "logits":
            out.type.tensor_type.shape.dim[1].Clear()
            out.type.tensor_type.shape.dim[1].dim_value = 1


def _add_cross_cache(encoder: onnx.ModelProto, first: onnx.ModelProto, decoder: onnx.ModelProto) -> None:
    """Append to the encoder what makes each layer's keys and values of the cross-attention, out of the first step."""
    made, constants = producers(first), initializers(first)
    wanted = [value for value in decoder.graph.input if value.name.startswith(PAST) and ".encoder." in value.name]
    nodes: dict[str, onnx.NodeProto] = {}
    del encoder.graph.output[:]
    for value in wanted:
        name = value.name.replace(PAST, PRESENT)
        heads = value.type.tensor_type.shape.dim[1].dim_value
        turn = made.get(name)
        split = made.get(turn.input[0]) if turn is not None and turn.op_type == "Transpose" else None
        if split is None or split.op_type != "Reshape":
            raise UserError(f"The exported graph makes {name} in a way that is not known: this model stays in torch.")
        # Its batch size is that of the decoder's input; 0 takes the encoder's.
        shape = f"{name}.shape"
        split.input[1] = shape
        encoder.graph.initializer.append(
            numpy_helper.from_array(np.array([0, 0, heads, -1], dtype=np.int64), f"cross.{shape}")
        )
        nodes.update(_behind(name, made, {"encoder_hidden_states", shape}, constants))
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
            for place, name in enumerate(places):
                places[place] = names.get(name, f"cross.{name}")
    for name in sorted(used & constants.keys()):
        copied = encoder.graph.initializer.add()
        copied.CopyFrom(constants[name])
        copied.name = f"cross.{name}"


def _share_cross_cache(decoder: onnx.ModelProto) -> None:
    """Let all texts of a dialogue attend to one copy of its cache, as the rows of one product.

    The decoder then takes caches and a mask of fewer rows than it has texts; those of a dialogue stand together.
    """
    made = producers(decoder)
    for value in list(decoder.graph.input):
        if not (value.name.startswith(PAST) and value.name.endswith(".encoder.key")):
            continue
        heads, size = (value.type.tensor_type.shape.dim[place].dim_value for place in (1, 3))
        name = value.name.removesuffix(".key")
        scores = _reader(decoder, value.name, made)
        mixed = _reader(decoder, f"{name}.value", made)
        constants = {f"{name}.first": [0], f"{name}.split": [-1, heads, size], f"{name}.join": [-1, heads, 1, size]}
        decoder.graph.initializer.extend(
            numpy_helper.from_array(np.array(numbers, dtype=np.int64), key) for key, numbers in constants.items()
        )
        query, out = scores.input[0], mixed.output[0]
        scores.input[0], mixed.output[0] = f"{name}.query", f"{name}.mixed"
        before = [
            ("Shape", [value.name], "shape", {}),
            ("Gather", [f"{name}.shape", f"{name}.first"], "dialogues", {"axis": 0}),
            ("Concat", [f"{name}.dialogues", f"{name}.split"], "grouped", {"axis": 0}),
            ("Reshape", [query, f"{name}.grouped"], "rows", {}),
            ("Transpose", [f"{name}.rows"], "query", {"perm": [0, 2, 1, 3]}),
        ]
        behind = [
            ("Transpose", [f"{name}.mixed"], "back", {"perm": [0, 2, 1, 3]}),
            ("Reshape", [f"{name}.back", f"{name}.join"], "", {}),
        ]
        for node, steps, ahead in ((scores, before, 0), (mixed, behind, 1)):
            place = list(decoder.graph.node).index(node) + ahead
            for step, (kind, inputs, output, attributes) in enumerate(steps):
                outputs = [f"{name}.{output}" if output else out]
                added = onnx.helper.make_node(kind, inputs, outputs, name=f"{name}.{kind}_{step}", **attributes)
                decoder.graph.node.insert(place + step, added)


def _reader(model: onnx.ModelProto, value: str, made: dict[str, onnx.NodeProto]) -> onnx.NodeProto:
    """Return the product whose second factor is a value, as it is or transposed."""
    for node in model.graph.node:
        if node.op_type == "MatMul":
            turn = made.get(node.input[1])
            if value in (node.input[1], turn.input[0] if turn is not None and turn.op_type == "Transpose" else None):
                return node
    raise UserError(f"The exported graph attends to {value} in a way that is not known: this model stays in torch.")


def _behind(
    name: str, made: dict[str, onnx.NodeProto], stop: set[str], constants: dict[str, onnx.TensorProto]
) -> dict[str, onnx.NodeProto]:
    """Return the nodes that a value needs, by their first output."""
    found: dict[str, onnx.NodeProto] = {}
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in stop or one in constants or not one:
            continue
        if one not in made:
            raise UserError(f"The cross-attention cache depends on '{one}', which the encoder has not.")
        node = made[one]
        if node.output[0] not in found:
            found[node.output[0]] = node
            waiting += node.input
    return found
