"""The options of a search, named as in transformers' GenerationConfig."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
NEVER = np.float32(-1e9)
"""What transformers adds to the score of a beam that must not win."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Sampling tokens instead of taking the best one."""

    seed: int = 0
    """The same seed, dialogue and index within the call give the same text, whatever the batch size."""
    temperature: float = 1.0
    top_k: int = 0
    """Sample from the k most likely tokens; 0 means from all."""
    top_p: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Options of a search."""

    max_new_tokens: int
    eos_token_id: int
    pad_token_id: int
    min_new_tokens: int = 0
    num_beams: int = 1
    num_return_sequences: int = 1
    length_penalty: float = 1.0
    early_stopping: bool | Literal["never"] = False
    no_repeat_ngram_size: int = 0
    repetition_penalty: float = 1.0
    prompt_counts: bool = True
    """Whether the prompt counts for the two above, as in transformers."""
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | None = None
    suppress_tokens: tuple[int, ...] = ()
    begin_suppress_tokens: tuple[int, ...] = ()
    sampling: Sampling | None = None

    def __post_init__(self) -> None:
        if self.sampling is not None and self.num_beams > 1:
            raise ValueError("sampling needs num_beams = 1")
        if self.sampling is None and self.num_return_sequences > self.num_beams:
            raise ValueError("num_return_sequences must be at most num_beams")
