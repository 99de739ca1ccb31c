"""A model's context window, and what fits into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from yoyak.models.families import family_of
from yoyak.models.spec import ModelSpec


def find_positions(config: Mapping[str, Any]) -> int | None:
    """Return the number of positions in a model's config; None if positions are relative and unlimited."""
    if "relative_attention_num_buckets" in config:
        # T5: some of its checkpoints still have an unused n_positions.
        return None
    return config.get("max_position_embeddings") or config.get("n_positions")


def new_token_limit(spec: ModelSpec, positions: int | None) -> int | None:
    """Return how many tokens can be generated after the longest input; None if there is no limit."""
    if positions is None:
        return None
    return max(1, positions - family_of(spec).prompt_length(spec.max_input_tokens))


def window_problem(spec: ModelSpec, positions: int | None, new_tokens: int) -> str | None:
    """Describe the shortage of positions for the longest input and ``new_tokens`` new ones; None if they suffice."""
    needed = family_of(spec).positions_needed(spec.max_input_tokens, new_tokens)
    return f"{needed} positions, the model has {positions}" if positions is not None and needed > positions else None
