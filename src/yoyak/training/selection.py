"""How the best checkpoint of a training is selected."""

from __future__ import annotations

from dataclasses import dataclass

from yoyak.scoring.rouge import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointScoring:
    """The ROUGE variant that selects the best checkpoint; models are compared with the same one."""

    granularity: str
    multi_reference: Protocol
    weights: tuple[float, float, float]
    """Weights of ROUGE-1, ROUGE-2 and ROUGE-L."""
