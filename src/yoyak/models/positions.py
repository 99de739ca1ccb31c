"""Where the learned positions of a new model start.

Random ones tell a model nothing about which positions are neighbours, so that it has to learn what comes before what
for each position by itself, and never does for those that few texts reach. Beside token embeddings that a model scales
up, as BART can, random ones are also too small to matter.
"""

from __future__ import annotations

import math
from typing import Any

TABLES = ("embed_positions", "position_embeddings", "wpe")
"""Names of these tables in transformers: BART's and its kin's, BERT's, GPT-2's."""


def start_as_sinusoids(model: Any) -> None:
    """Set the learned position embeddings of a new model to sinusoids (Vaswani et al., 2017) of its tokens' size."""
    import torch

    tokens = model.get_input_embeddings()
    size = float(tokens.weight.detach().std())
    if getattr(model.config, "scale_embedding", False):
        size *= math.sqrt(tokens.embedding_dim)
    for name, module in model.named_modules():
        is_table = isinstance(module, torch.nn.Embedding) and name.rpartition(".")[2] in TABLES
        if is_table and module.weight.requires_grad:
            count, width = module.weight.shape
            steps = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
            angles = torch.arange(count)[:, None] * steps
            waves = torch.cat([angles.sin(), angles.cos()], dim=1)[:, :width]
            # A sinusoid's standard deviation is its amplitude divided by the square root of 2.
            with torch.no_grad():
                module.weight.copy_(waves * size * math.sqrt(2))
