"""Packing: a batch in fewer rows, each of several examples that do not see each other.

transformers takes positions that start over for another example, and masks the attention between them. Only some of its
models do so, and none of them while it fills a cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from yoyak.models.text import IGNORED

if TYPE_CHECKING:
    import torch

ARCHITECTURES = (
    "cohere", "exaone4", "gemma", "gemma2", "gemma3_text", "gpt2", "gpt_neox", "granite", "llama", "mistral", "olmo2",
    "phi", "phi3", "qwen2", "qwen3", "smollm3", "starcoder2",
)  # fmt: skip
"""Values of ``model_type``: a test shows for each that packed examples have the loss and gradients of padded ones."""
ATTENTION = ("sdpa", "eager")
"""Implementations of attention for which it is so."""


def supports_packing(config: Any) -> bool:
    """Return whether a model with this config keeps packed examples apart."""
    # Before a model is built, none is chosen, which becomes one of these.
    return config.model_type in ARCHITECTURES and (config._attn_implementation or ATTENTION[0]) in ATTENTION


def pack(batch: Mapping[str, Any], row_tokens: float) -> dict[str, Any]:
    """Return a padded batch in rows of at most ``row_tokens``; an example that is longer has a row of its own.

    Args:
        batch: ``input_ids``, ``attention_mask`` and ``labels`` [rows, tokens], padded on either side.

    The result has ``position_ids``, which start over with each example, in place of the mask. Rows are padded on the
    right with one more example, which nothing is learned from.
    """
    import torch

    kept = batch["attention_mask"].bool()
    lengths = kept.sum(1).tolist()
    rows = assign_rows(lengths, row_tokens)
    width = max(sum(lengths[example] for example in row) for row in rows)

    def join(pieces: Sequence[Sequence[torch.Tensor]], padding: torch.Tensor) -> torch.Tensor:
        joined = [torch.cat([*row, padding])[:width] for row in pieces]
        return torch.stack(joined)

    ids, labels = batch["input_ids"], batch["labels"].clone()
    # What an example begins with is predicted from nothing, and must not be from the end of another one.
    labels[torch.arange(len(labels)), kept.int().argmax(1)] = IGNORED
    positions = torch.arange(width, device=ids.device)
    return {
        "input_ids": join(
            [[ids[example][kept[example]] for example in row] for row in rows], torch.zeros_like(positions)
        ),
        "labels": join(
            [[labels[example][kept[example]] for example in row] for row in rows], torch.full_like(positions, IGNORED)
        ),
        "position_ids": join([[positions[: lengths[example]] for example in row] for row in rows], positions),
    }


def assign_rows(lengths: Sequence[int], row_tokens: float) -> list[list[int]]:
    """Return the examples of each row: the longest first, each in the first row that has room for it."""
    rows: list[list[int]] = []
    rooms: list[float] = []
    for example in sorted(range(len(lengths)), key=lambda example: -lengths[example]):
        row = next((row for row, room in enumerate(rooms) if room >= lengths[example]), None)
        if row is None:
            row = len(rows)
            rows.append([])
            rooms.append(row_tokens)
        rows[row].append(example)
        rooms[row] -= lengths[example]
    return rows
