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
"""What would be served in the place of the exported model."""
NAMES = {
    "torch_fp32": "torch fp32",
    "torch_bf16": "torch bf16",
    "torch_int8": "torch INT8",
    "onnx_fp32": "ONNX fp32",
}
PRECISIONS = {"int8": "ONNX INT8", "int4": "ONNX 4 bits", "fp32": "ONNX fp32"}


def beside(variants: Sequence[str], precision: str) -> list[str]:
    """Return what the exported model is measured beside, then itself; one in fp32 is its own twin."""
    return [*(name for name in variants if not (name == "onnx_fp32" and precision == "fp32")), EXPORTED]


def title(variant: str, precision: str) -> str:
    """Return a variant's name for people; ``precision`` is the exported model's."""
    return PRECISIONS[precision] if variant == EXPORTED else NAMES[variant]


def megabytes(folder: Path) -> float:
    """Return the size of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def export_twin(source: Path, out: Path) -> None:
    """Export the model that the exported one was made of, in fp32."""
    from yoyak.export.folder import export_model

    export_model(source, out, Export(precision="fp32"))


@dataclass(slots=True)
class Loaded:
    """A variant in memory, in the process that measures it."""

    summarizer: Any
    choices: tuple[int, ...] = ()
    """Numbers of threads that torch may be given; onnxruntime has what it is served with."""
    chosen: dict[tuple[int, int, int], int] = field(default_factory=dict)
    """The fastest of them, by batch size, beams and how often each was tried."""

    def prepare(self, batch: Sequence[str], generation: Any, tries: int) -> int:
        """Warm up for batches like this one, and give torch the number of threads that is fastest for them.

        Returns that number; 0 where it is not ours to choose.
        """
        kind = (generation.batch_size, generation.num_beams, tries)
        if kind not in self.chosen:
            # torch is warm after its first batch, onnxruntime lays out its memory for each size.
            if not (self.choices and self.chosen):
                self.summarizer.summarize(batch, generation=generation)
            self.chosen[kind] = self._fastest(batch, generation, tries) if self.choices else 0
        if self.choices:
            _set_threads(self.chosen[kind])
        return self.chosen[kind]

    def _fastest(self, batch: Sequence[str], generation: Any, tries: int) -> int:
        seconds = dict.fromkeys(self.choices, float("inf"))
        for count in [*self.choices] * tries:
            _set_threads(count)
            start = time.perf_counter()
            self.summarizer.summarize(batch, generation=generation)
            seconds[count] = min(seconds[count], time.perf_counter() - start)
        return min(self.choices, key=seconds.__getitem__)


def load(variant: str, folder: Path, threads: int) -> Loaded:
    """Load a variant from its folder; ``threads`` is the most it may have, 0 one for each core that may be used."""
    if variant in ONNX:
        from yoyak.decoding.onnx.runtime import OnnxSummarizer

        return Loaded(OnnxSummarizer.load(folder, threads=threads or None))
    import torch

    from yoyak.decoding.torch import TorchSummarizer

    # The old way of INT8 knows the CPU alone; the others are served on the best device there is.
    summarizer = TorchSummarizer.load(folder, "cpu" if variant == "torch_int8" else None)
    if variant == "torch_bf16":
        summarizer.model.to(torch.bfloat16)
    if variant == "torch_int8":
        kinds = {torch.nn.Linear}
        torch.ao.quantization.quantize_dynamic(summarizer.model, kinds, dtype=torch.qint8, inplace=True)
    most = threads or cores()
    return Loaded(summarizer, choices=tuple(sorted({1, max(1, most // 2), most})))


def _set_threads(count: int) -> None:
    import torch

    torch.set_num_threads(count)
