"""One peer in a process of its own: loads its model, then answers each line ``batch beams`` with seconds and memory."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

START = time.perf_counter()
NEW_TOKENS = 64
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


def load_torch(folder: Path, int8: bool) -> Callable[[Ids, int], object]:
    """Eager transformers, with its linear layers in dynamic INT8 or as they are."""
    import torch
    from transformers import AutoModelForSeq2SeqLM

    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
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


def load_ctranslate2(folder: Path, layout: str) -> Callable[[Ids, int], object]:
    """CTranslate2 in INT8, with threads inside of a batch (1x2) or a thread for each half of it (2x1)."""
    import ctranslate2

    inter, intra = map(int, layout.split("x"))
    translator = ctranslate2.Translator(
        str(folder), device="cpu", compute_type="int8", inter_threads=inter, intra_threads=intra
    )

    def run(rows: Ids, beams: int) -> object:
        tokens = [[f"t{one}" for one in row] for row in rows]
        return [
            found.hypotheses
            for found in translator.translate_batch(
                tokens, beam_size=beams, min_decoding_length=NEW_TOKENS, max_decoding_length=NEW_TOKENS,
                max_batch_size=-(-len(rows) // inter),
            )
        ]  # fmt: skip

    return run


def main() -> None:
    """Load the peer that the arguments name and serve what is asked on standard input."""
    kind, folder, width, vocabulary = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    if kind in ("yoyak", "before"):
        run = load_onnx(folder)
    elif kind.startswith("torch"):
        run = load_torch(folder, int8=kind == "torch_int8")
    else:
        run = load_ctranslate2(folder, kind.partition(":")[2])
    say({"loaded": time.perf_counter() - START})
    for line in sys.stdin:
        batch, beams = map(int, line.split())
        rows = [
            [4 + (17 * row + 31 * place * place) % (vocabulary - 4) for place in range(width)] for row in range(batch)
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
