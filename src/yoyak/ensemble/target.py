"""What strategies are fitted to on dev."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yoyak.params.base import ROUGE_WEIGHTS
from yoyak.scoring.rouge import rouge


def score_texts(texts: Sequence[str], references: Sequence[Sequence[str]], granularity: str) -> np.ndarray:
    """Return [texts]: their combined ROUGE, 0 to 1."""
    scores = rouge(texts, references, granularity=granularity, multi_reference="mean", weights=ROUGE_WEIGHTS)
    return scores["combined"]
