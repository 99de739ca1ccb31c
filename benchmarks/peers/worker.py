"""One peer in a process of its own: loads its model, then answers each line ``batch beams`` with seconds and memory."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from shapes import NEW_TOKENS, SHAPES, WIDTH

START = time.perf_counter()
Ids = list[list[int]]


def load_onnx(folder: Path) -> Callable[[Ids, int], object]:
    """Yoyak's own path: onnxruntime and numpy."""
    from yoyak.decoding.onnx.runtime import OnnxSummarizer

    summarizer = OnnxSummarizer.load(folder)

    def run(rows: Ids, beams: int) -> object:
        settings = summarizer.generation.model_copy(
            update={"num_beams": beams, "max_new_tokens": NEW_TOKENS, "min_new_tokens": NEW_TOKENS}
        )
        return [[one.tokens for one in texts] for texts in summarizer.write(rows, summarizer.search(settings))]

    return run


def load_torch(folder: Path, *, int8: bool, causal: bool) -> Callable[[Ids, int], object]:
    """Eager transformers, with its linear layers in dynamic INT8 or as they are."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

    kind = AutoModelForCausalLM if causal else AutoModelForSeq2SeqLM
    model = kind.from_pretrained(folder).eval()
    if int8:
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, dtype=torch.qint8)

    @torch.inference_mode()
    def run(rows: Ids, beams: int) -> object:
        ids = torch.tensor(rows)
        return model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), num_beams=beams, do_sample=False,
            min_new_tokens=NEW_TOKENS, max_new_tokens=NEW_TOKENS, early_stopping=beams > 1,
        ).tolist()  # fmt: skip

    return run


def load_ctranslate2(folder: Path, layout: str, *, causal: bool) -> Callable[[Ids, int], object]:
    """CTranslate2 in INT8, with threads inside of a batch (1x2) or a thread for each half of it (2x1)."""
    import ctranslate2

    inter, intra = map(int, layout.split("x"))
    kind = ctranslate2.Generator if causal else ctranslate2.Translator
    model = kind(str(folder), device="cpu", compute_type="int8", inter_threads=inter, intra_threads=intra)

    def run(rows: Ids, beams: int) -> object:
        tokens = [[f"t{one}" for one in row] for row in rows]
        options = {"beam_size": beams, "max_batch_size": -(-len(rows) // inter)}
        if causal:
            found = model.generate_batch(
                tokens, min_length=NEW_TOKENS, max_length=NEW_TOKENS, include_prompt_in_result=False, **options
            )
            return [one.sequences for one in found]
        found = model.translate_batch(tokens, min_decoding_length=NEW_TOKENS, max_decoding_length=NEW_TOKENS, **options)
        return [one.hypotheses for one in found]

    return run


def measure_floor() -> dict[str, float]:
    """Return the least time for a byte that is read and for a multiplication of a product in INT8.

    All threads of the process read, or multiply, at once; each time is for the whole machine.
    """
    import numpy as np
    import onnx
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    rows, width, columns = 512, 768, 3072
    weight = np.random.default_rng(0).integers(-127, 128, (width, columns)).astype(np.int8)
    constants = {"w": weight, "s": np.float32(0.01), "z": np.uint8(128), "zw": np.int8(0)}
    graph = helper.make_graph(
        [helper.make_node("MatMulIntegerToFloat", ["x", "w", "s", "s", "z", "zw"], ["y"], domain="com.microsoft")],
        "floor",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [rows, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [rows, columns])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.add_session_config_entry("session.x64quantprecision", "0")
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), options)
    levels = np.zeros((rows, width), np.uint8)
    array = np.ones(32 * 2**20, np.float32)
    found: dict[str, float] = {}
    work: dict[str, tuple[Callable[[], object], int]] = {
        "byte": (lambda: array @ array, array.nbytes),
        "product": (lambda: session.run(None, {"x": levels}), rows * width * columns),
    }
    for name, (run, count) in work.items():
        for _ in range(8):
            began, worked = time.perf_counter(), time.process_time()
            run()
            times = {"seconds": time.perf_counter() - began, "processor_seconds": time.process_time() - worked}
            for key, seconds in times.items():
                found[f"{name}_{key}"] = min(found.get(f"{name}_{key}", 1.0), seconds / count)
    return found


def main() -> None:
    """Load the peer that the arguments name and serve what is asked on standard input."""
    kind, folder, shape = sys.argv[1], Path(sys.argv[2]), SHAPES[sys.argv[3]]
    causal = shape.family == "causal"
    if kind == "floor":
        say({"loaded": 0.0})
        for _ in sys.stdin:
            say(measure_floor())
        return
    if kind in ("yoyak", "before"):
        run = load_onnx(folder)
    elif kind.startswith("torch"):
        run = load_torch(folder, int8=kind == "torch_int8", causal=causal)
    else:
        run = load_ctranslate2(folder, kind.partition(":")[2], causal=causal)
    say({"loaded": time.perf_counter() - START})
    for line in sys.stdin:
        batch, beams = map(int, line.split())
        rows = [
            [4 + (17 * row + 31 * place * place) % (shape.vocabulary - 4) for place in range(WIDTH)]
            for row in range(batch)
        ]
        Path("/proc/self/clear_refs").write_text("5")
        began, worked = time.perf_counter(), time.process_time()
        run(rows, beams)
        seconds, processor = time.perf_counter() - began, time.process_time() - worked
        say(
            {
                "seconds": seconds,
                "processor_seconds": processor,
                "peak_mb": memory("VmHWM"),
                "anon_mb": memory("RssAnon"),
            }
        )


def memory(name: str) -> float:
    """Return a figure of /proc/self/status in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def say(value: dict[str, float]) -> None:
    print(json.dumps(value), flush=True)


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
