"""The ONNX graphs of a model in fp32: an encoder that also computes the cross-attention cache, and one decoder step.

Optimum exports three graphs of an encoder-decoder model: the encoder, the decoder's first step and its later steps.
The first step differs from a later one with an empty cache only in that it computes the keys and values of the
cross-attention. These move to the encoder here, so that no weight of the decoder is stored twice.
"""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from yoyak.errors import UserError
from yoyak.export import beams, cross, prompts
from yoyak.export.edit import PAST, PRESENT, Graphs, find_head, initializers


def export_graphs(model: Any) -> Graphs:
    """Return the graphs ``encoder`` and ``decoder`` of a torch model; a decoder-only model has no encoder.

    Raises UserError if Optimum does not support the architecture.
    """
    has_encoder = model.config.is_encoder_decoder
    task = ("text2text" if has_encoder else "text") + "-generation-with-past"
    # torch's fused attention would be exported with a copy of the scaled cache in every step.
    model.set_attn_implementation("eager")
    with tempfile.TemporaryDirectory(prefix="yoyak-") as temporary:
        folder = Path(temporary)
        _run_optimum(model, task, folder)
        if not has_encoder:
            decoder = _load_graph(folder / "model.onnx")
            _keep_last_position(decoder)
            prompts.share_prompt_cache(decoder)
            return {"decoder": decoder}
        encoder, decoder = (
            _load_graph(folder / "encoder_model.onnx"),
            _load_graph(folder / "decoder_with_past_model.onnx"),
        )
        cross.add_cross_cache(encoder, _load_graph(folder / "decoder_model.onnx"), decoder)
        cross.share_cross_cache(decoder)
        cross.transpose_keys(encoder, decoder)
        cross.scale_queries(decoder)
        beams.share_self_cache(decoder, _find_buckets(model.config))
    return {"encoder": encoder, "decoder": decoder}


def reorder_graph(decoder: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph ``reorder``, which gathers rows of the self-attention cache by index.

    Unlike numpy, onnxruntime uses all threads and memory that it has already allocated.
    """
    names = [
        (value.name, value.name.replace(PAST, PRESENT))
        for value in decoder.graph.input
        if value.name.startswith(PAST) and ".encoder." not in value.name
    ]
    values = {value.name: value for value in (*decoder.graph.input, *decoder.graph.output)}
    source = onnx.helper.make_tensor_value_info("source", onnx.TensorProto.INT64, ["rows"])
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Gather", [past, "source"], [present], axis=0) for past, present in names],
        "reorder",
        [*(values[past] for past, _ in names), source],
        [onnx.helper.make_tensor_value_info(present, onnx.TensorProto.FLOAT, None) for _, present in names],
    )
    return onnx.helper.make_model(graph, opset_imports=decoder.opset_import, ir_version=decoder.ir_version)


def _find_buckets(config: Any) -> Any:
    """Return the row of T5's learned biases for each distance to an earlier token; None for models without them."""
    if getattr(config, "relative_attention_num_buckets", None) is None:
        return None
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    farthest = config.relative_attention_max_distance
    return T5Attention._relative_position_bucket(
        -torch.arange(farthest + 1), False, config.relative_attention_num_buckets, farthest
    ).numpy()


def _run_optimum(model: Any, task: str, folder: Path) -> None:
    from optimum.exporters.onnx.convert import onnx_export_from_model
    from optimum.exporters.tasks import TasksManager

    kind = model.config.model_type
    if kind not in TasksManager.get_supported_model_type_for_task(task, "onnx"):
        raise UserError(f"Optimum cannot export {kind} for {task}: BART, T5, mT5, GPT-2, Llama and Qwen2 are tested.")
    level = logging.getLogger("optimum").level
    logging.getLogger("optimum").setLevel(logging.ERROR)
    try:
        # Tracing prints warnings that are meant for the authors of a model.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            onnx_export_from_model(model, folder, task=task, no_post_process=True, do_validation=False)
    finally:
        logging.getLogger("optimum").setLevel(level)


def _load_graph(path: Path) -> onnx.ModelProto:
    from onnxruntime.quantization.onnx_model import ONNXModel

    model = onnx.load(path)
    # GPT-2's layers are Gemms; all others are MatMuls.
    ONNXModel(model).replace_gemm_with_matmul()
    _fold_identities(model)
    return model


def _fold_identities(model: onnx.ModelProto) -> None:
    """Let nodes read constants directly: the exporter passes shared constants through an Identity."""
    constants = initializers(model)
    constant_of = {
        node.output[0]: node.input[0]
        for node in model.graph.node
        if node.op_type == "Identity" and node.input[0] in constants
    }
    kept = [node for node in model.graph.node if node.output[0] not in constant_of]
    for node in kept:
        for position, name in enumerate(node.input):
            node.input[position] = constant_of.get(name, name)
    del model.graph.node[:]
    model.graph.node.extend(kept)


def _keep_last_position(model: onnx.ModelProto) -> None:
    """Compute the logits of the last position only: for a long prompt, all logits would be larger than the model."""
    node = find_head(model)
    if node is None:
        return
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1], dtype=np.int64), "yoyak.last"))
    position = list(model.graph.node).index(node)
    last = onnx.helper.make_node(
        "Gather", [node.input[0], "yoyak.last"], ["yoyak.last_hidden"], name="yoyak.last_position", axis=1
    )
    node.input[0] = "yoyak.last_hidden"
    model.graph.node.insert(position, last)
    for out in model.graph.output:
        if out.name == "logits":
            out.type.tensor_type.shape.dim[1].Clear()
            out.type.tensor_type.shape.dim[1].dim_value = 1
