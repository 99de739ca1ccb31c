"""What a model's folder holds, loaded: one model, in torch or exported, or an ensemble of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from yoyak.decoding.generate import Summarizer
    from yoyak.decoding.onnx import OnnxSummarizer
    from yoyak.serving.ensemble import EnsembleSummarizer

ABOUT = "ensemble.json"
"""The file that an ensemble's folder has, and that of one model has not."""
EXPORTED = "onnx.json"
"""The file that an exported model's folder has: it is used without torch."""


def load_summarizer(
    folder: Path, device: str | None = None, threads: int = 0
) -> Summarizer | EnsembleSummarizer | OnnxSummarizer:
    """Load a model's folder onto the best device there is, unless one is named.

    ``threads`` is how many a model uses on the CPU; 0 is one for each core that may be used.
    """
    if threads and not (folder / EXPORTED).is_file():
        import torch

        torch.set_num_threads(threads)
    if (folder / ABOUT).is_file():
        # Scoring comes along with it, which serving one model does without.
        from yoyak.serving.ensemble import load_ensemble

        return load_ensemble(folder, device)
    if (folder / EXPORTED).is_file():
        from yoyak.decoding.onnx import OnnxSummarizer

        return OnnxSummarizer.load(folder, device, threads or None)
    from yoyak.decoding.generate import Summarizer

    return Summarizer.load(folder, device)
