"""From the folder of one model to what summarizes with it."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from yoyak.models.families import get_family
from yoyak.models.families.base import TrainedFamily
from yoyak.models.libraries import import_transformers
from yoyak.models.spec import ONNX_FILE, load_spec

if TYPE_CHECKING:
    from yoyak.decoding.summarizer import Scorer, Summarizer


def can_score(folder: Path) -> bool:
    """Return whether a saved member can tell how likely a text is: an exported one and one behind an API cannot."""
    from yoyak.decoding.summarizer import Scorer

    if (folder / ONNX_FILE).is_file():
        return False
    return issubclass(resolve_name(get_family(load_spec(folder).family).summarizer), Scorer)


def load_scorer(folder: Path) -> Scorer:
    """Load a member that `can_score`, onto the best available device."""
    scorer: Scorer = load_member(folder)  # type: ignore[assignment]
    return scorer


def load_member(folder: Path, device: str | None = None, threads: int = 0) -> Summarizer:
    """Load a member as `yoyak train` or `yoyak export` saved it, onto the best available device unless one is named.

    ``threads`` is how many an exported model uses; 0 means one for each available core. Raises UserError where the
    folder does not hold such a model.
    """
    if (folder / ONNX_FILE).is_file():
        from yoyak.decoding.onnx.runtime import OnnxSummarizer

        return OnnxSummarizer.load(folder, device, threads or None)
    family = get_family(load_spec(folder).family)
    if isinstance(family, TrainedFamily):
        import_transformers()
    summarizer_class = resolve_name(family.summarizer)
    summarizer: Summarizer = summarizer_class.load(folder, device)
    return summarizer
