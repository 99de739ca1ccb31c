"""The models that are measured side by side, each loaded as it would be served."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yoyak.cpu import cores
from yoyak.params.deploy import Export

EXPORTED = "exported"
TORCH = ("torch_fp32", "torch_bf16", "torch_int8")
ONNX = ("onnx_fp32", EXPORTED)
FP32 = ("torch_fp32", "onnx_fp32")
"""The variants that are served if the exported model fails its gate."""
NAMES = {
    "torch_fp32": "torch fp32",
    "torch_bf16": "torch bf16",
    "torch_int8": "torch INT8",
    "onnx_fp32": "ONNX fp32",
}
PRECISIONS = {"int8": "ONNX INT8", "int4": "ONNX 4 bits", "fp32": "ONNX fp32"}


def list_measured(variants: Sequence[str], precision: str) -> list[str]:
    """Return the variants to compare with, then the exported model; exported in fp32, it is its own ``onnx_fp32``."""
    return [*(name for name in variants if not (name == "onnx_fp32" and precision == "fp32")), EXPORTED]


def display_name(variant: str, precision: str) -> str:
    """Return the name of a variant in reports; ``precision`` is the exported model's."""
    return PRECISIONS[precision] if variant == EXPORTED else NAMES[variant]


def megabytes(folder: Path) -> float:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def export_fp32(source: Path, out: Path) -> None:
    """Export the same torch model again, in fp32."""
    from yoyak.export.folder import export_model

    export_model(source, out, Export(precision="fp32"))


@dataclass(slots=True)
class LoadedVariant:
    """A variant in memory, in the process that measures it."""

    summarizer: Any
    thread_choices: tuple[int, ...] = ()
    """Torch thread counts to try; empty for onnxruntime, which runs with the thread count it is served with."""
    threads: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """The fastest of them, by batch size, number of beams and how often each was tried."""

    def prepare(self, batch: Sequence[str], generation: Any, tries: int) -> int:
        """Warm up for batches like this one, and set torch to the thread count that is fastest for them.

        Returns that thread count; 0 for onnxruntime.
        """
        key = (generation.batch_size, generation.num_beams, tries)
        if key not in self.threads:
            # torch is warm after its first batch; onnxruntime allocates new memory for each batch size.
            if not (self.thread_choices and self.threads):
                self.summarizer.summarize(batch, generation=generation)
            self.threads[key] = self._find_fastest(batch, generation, tries) if self.thread_choices else 0
        if self.thread_choices:
            _set_threads(self.threads[key])
        return self.threads[key]

    def _find_fastest(self, batch: Sequence[str], generation: Any, tries: int) -> int:
        seconds = dict.fromkeys(self.thread_choices, float("inf"))
        for count in [*self.thread_choices] * tries:
            _set_threads(count)
            start = time.perf_counter()
            self.summarizer.summarize(batch, generation=generation)
            seconds[count] = min(seconds[count], time.perf_counter() - start)
        return min(self.thread_choices, key=seconds.__getitem__)


def load(variant: str, folder: Path, threads: int) -> LoadedVariant:
    """Load a variant from its folder with at most ``threads`` threads; 0 means one for each available core."""
    if variant in ONNX:
        from yoyak.decoding.onnx.runtime import OnnxSummarizer

        return LoadedVariant(OnnxSummarizer.load(folder, threads=threads or None))
    import torch

    from yoyak.decoding.torch import TorchSummarizer

    # Dynamic quantization runs on the CPU only; the others are served on the best device available.
    summarizer = TorchSummarizer.load(folder, "cpu" if variant == "torch_int8" else None)
    if variant == "torch_bf16":
        summarizer.model.to(torch.bfloat16)
    if variant == "torch_int8":
        torch.ao.quantization.quantize_dynamic(summarizer.model, {torch.nn.Linear}, dtype=torch.qint8, inplace=True)
    maximum = threads or cores()
    return LoadedVariant(summarizer, thread_choices=tuple(sorted({1, max(1, maximum // 2), maximum})))


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
