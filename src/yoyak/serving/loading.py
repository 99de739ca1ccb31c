"""Loading a model's folder: one model, in torch or exported, or an ensemble of several."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from yoyak.decoding.loading import load_member
from yoyak.models.spec import ENSEMBLE_FILE, ONNX_FILE

if TYPE_CHECKING:
    from yoyak.decoding.summarizer import Summarizer


def load_summarizer(folder: Path, device: str | None = None, threads: int = 0) -> Summarizer:
    """Load a model's folder onto the best available device, unless one is named.

    ``threads`` is how many a model uses on the CPU; 0 means one for each available core.
    """
    if threads and not (folder / ONNX_FILE).is_file():
        import torch

        torch.set_num_threads(threads)
    if (folder / ENSEMBLE_FILE).is_file():
        # This imports scoring, which serving a single model does not need.
        from yoyak.ensemble.summarizer import load_ensemble

        return load_ensemble(folder, device)
    return load_member(folder, device, threads)
